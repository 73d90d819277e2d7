// What a link to this page carries: https://core.telegram.org/bots/features#deep-linking

const carried = new URLSearchParams(location.search).get("start") || "";
let payload = /^[\w-]{1,64}$/.test(carried) ? carried : "";

// Whether somebody came by a link, and has not pressed Start yet.
export const isFollowed = () => Boolean(payload);

// What Start says; a second time it is a start like any other.
export function started() {
  const said = `/start ${payload}`.trim();
  payload = "";
  history.replaceState(null, "", location.pathname + location.hash);
  return said;
}
