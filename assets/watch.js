// Waits for the server to say that something has changed, and tells the page ('tick'). Nothing is
// asked while the page is hidden or another tab is in front.
const PAUSE_MS = 3500;  // between two changes; a run that trains changes all the time
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
  let isAway = false;
  while (element.isConnected) {
    await untilSeen();
    const now = await server.wait_for_change({mark}).catch(() => '');  // empty: the app is away
    // A new app knows nothing of this page's state, and the address has all that it needs.
    if (now && isAway) return window.location.reload();
    isAway = !now;
    if (now && now !== mark) { mark = now; trigger('tick', {}); }
    await pause(PAUSE_MS);
  }
}
follow();
