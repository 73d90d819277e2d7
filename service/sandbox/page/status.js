// The status line, in plain words: whether the bot takes what it is sent.

const line = document.getElementById("status");

function trouble({ last_error_message: error, last_error_date: date }) {
  const known = {
    "Connection refused": "the bot cannot be reached",
    "Read timeout expired": "the bot took too long",
    "Webhook connection closed": "the bot hung up",
  };
  const words = known[error] || error.replace("Wrong response from the webhook:", "the bot answered");
  return `${words} (${new Date(date * 1000).toLocaleTimeString()})`;
}

export function showStatus(status) {
  const waiting = status.pending_update_count;
  const updates = waiting === 1 ? "1 update waits" : `${waiting} updates wait`;
  const failed = status.last_error_message;
  if (!status.url && !waiting) say("waiting", "No webhook is set; the bot has to ask for updates.");
  else if (!status.url) say("waiting", `${updates} for the bot to ask.`);
  else if (waiting && failed) say("bad", `${updates}: ${trouble(status)}. Trying again.`);
  else if (waiting) say("waiting", `${updates} for the bot.`);
  else if (failed) say("good", `The bot has taken every update. Last trouble: ${trouble(status)}.`);
  else say("good", "The bot has taken every update.");
}

export function say(state, words) {
  line.dataset.state = state;
  line.textContent = words;
}
