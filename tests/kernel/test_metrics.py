from prometheus_client.parser import text_string_to_metric_families

from service.kernel import metrics


def test_every_metric_is_ours_by_name() -> None:
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert families
    assert {family.name.partition("_")[0] for family in families} == {"ballast"}


def test_no_label_can_grow_without_bound() -> None:
    """A label by an id or by typed text would be a time series per person."""
    labels = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    assert labels == {
        "route", "method", "status", "state", "query", "sqlstate_class", "feature", "kind", "result", "job",
        "provider", "change", "operation", "outcome", "what", "model", "table",
    }  # fmt: skip


def test_what_is_counted_is_rendered() -> None:
    metrics.UPDATES_POISON.inc()
    assert b"ballast_updates_poison_total" in metrics.render()
    assert b"ballast_build_info{" in metrics.render()
