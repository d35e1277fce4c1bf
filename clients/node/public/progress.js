// Keeps a waiting page up to date: its text follows the stream of events, and its form is sent when that is over.
const form = document.querySelector("form[data-events]");

if (form) {
  const text = form.querySelector(".progress");
  const bar = form.querySelector("progress");
  form.querySelector("button").hidden = true;

  // A stream that breaks is taken up again by the browser itself; the first event says how things are by then.
  const events = new EventSource(form.dataset.events);
  events.onmessage = (event) => {
    const progress = JSON.parse(event.data);
    text.textContent = progress.text;
    if (!progress.over) return;
    events.close();
    form.submit();
  };
  // Refused, not broken: the session is over, and the portal says where to go on.
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) form.submit();
  };

  if (bar) {
    const secondsLeft = () => Math.max(0, (bar.dataset.expires - Date.now()) / 1000);
    bar.max = secondsLeft();
    const tick = () => (bar.value = secondsLeft());
    tick();
    setInterval(tick, 1000);
  }
}
