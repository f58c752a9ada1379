// Waits for the server to say that something has changed, and tells the page ('tick'). Nothing is
// asked while the page is hidden or another tab is in front.
const PAUSE_MS = 2000;  // between two changes; a run that trains changes all the time
const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const isSeen = () => document.visibilityState === 'visible' &&
  (new URLSearchParams(window.location.search).get('tab') ?? 'train') === 'TAB';
let mark = '';

async function untilSeen() {
  while (!isSeen()) await new Promise(done => {
    document.addEventListener('visibilitychange', done, {once: true});
    window.addEventListener('tab-shown', done, {once: true});
  });
}

async function follow() {
  while (element.isConnected) {
    await untilSeen();
    const now = await server.wait_for_change({mark});  // empty if the app does not answer
    if (now && now !== mark) { mark = now; trigger('tick', {}); }
    await pause(PAUSE_MS);
  }
}
follow();
