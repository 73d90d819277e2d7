// Keeps the log of callbacks as it is, without closing what a reader has opened.

const EVERY_MS = 1000;

function keepOpen(from, to) {
  const open = new Set([...from.querySelectorAll("details[open]")].map((one) => one.id));
  for (const one of to.querySelectorAll("details")) one.open = open.has(one.id);
}

async function refresh() {
  try {
    const fresh = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    for (const name of ["bill", "log"]) {
      const [old, now] = [document.getElementById(name), fresh.getElementById(name)];
      if (!now) continue;
      keepOpen(old, now);
      if (old.outerHTML !== now.outerHTML) old.replaceWith(now);
    }
  } catch {
    // the sandbox is away: the next look may find it again
  }
  setTimeout(refresh, EVERY_MS);
}

setTimeout(refresh, EVERY_MS);
