// The list of runs. Rows keep their nodes, so that focus and scrolling survive a redraw; a thumbnail
// is asked for once.
const body = element.querySelector('tbody'), empty = element.querySelector('.empty'), table = element.querySelector('table');
const finder = element.querySelector('.run-find'), choice = name => finder.querySelector(`[name=${name}]`);
const thumbnails = new Map();
let isPicked = false;  // by the reader, which makes an entry of the browser's history
let now = {rows: [], selected: '', overlay: [], words: ''};

function follow() {
  if (!props.value) return;
  const next = JSON.parse(props.value);
  const isNewChoice = next.selected !== now.selected;
  const isFirst = !next.selected && !now.selected;  // nothing is chosen yet
  now = next;
  if (!isFirst) writeAddress();
  finder.hidden = now.rows.length < 5;
  const chosen = choice('state').value, states = [...new Set(['', ...now.rows.map(run => run.state), chosen])].sort();
  if (states.join() !== [...choice('state').options].map(option => option.value).join())  // else a list that is open would close
    choice('state').replaceChildren(...states.map(state => new Option(state || 'all states', state, false, state === chosen)));
  const rows = new Map([...body.children].map(row => [row.dataset.run, row]));
  const shown = found();
  empty.hidden = shown.length > 0;
  empty.innerHTML = now.rows.length ? 'No run matches.' : now.words;
  table.hidden = !shown.length;
  shown.forEach((run, i) => {
    const row = rows.get(run.id) ?? blank(run.id);
    rows.delete(run.id);
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
    fill(row, run);
  });
  rows.forEach(row => row.remove());
  if (isNewChoice) showChosen();
}

// The rows that are looked for, in the chosen order.
function found() {
  if (finder.hidden) return now.rows;
  const words = finder.querySelector('input').value.toLowerCase().split(/\s+/), state = choice('state').value, order = choice('order').value;
  const rows = now.rows.filter(run => (!state || run.state === state) &&
    words.every(word => `${run.title} ${run.id} ${run.note} ${run.under}`.toLowerCase().includes(word)));
  const number = run => run[order] ? Number(run[order].replace('\u2212', '-')) : -Infinity;
  if (order === 'title') rows.sort((a, b) => a.title.localeCompare(b.title));
  else if (order) rows.sort((a, b) => number(b) - number(a) || 0);
  return rows;
}

// Only the list is scrolled: scrollIntoView would move the page too.
function showChosen() {
  const list = element.querySelector('.run-list'), row = body.querySelector('tr.chosen');
  if (!row) return;
  const under = row.getBoundingClientRect().bottom - list.getBoundingClientRect().bottom;
  const over = table.tHead.getBoundingClientRect().bottom - row.getBoundingClientRect().top;
  list.scrollTop += under > 0 ? Math.ceil(under) : -Math.ceil(Math.max(over, 0));
}

// The address tells of the tab that is shown, and of no other.
function writeAddress() {
  const url = new URL(window.location.href), old = url.href;
  const isShown = (url.searchParams.get('tab') ?? 'train') === 'train';
  const put = (name, value) => value && isShown ? url.searchParams.set(name, value) : url.searchParams.delete(name);
  put('run', now.selected);
  put('with', now.overlay.join());
  if (url.href !== old) window.history[isPicked ? 'pushState' : 'replaceState'](window.history.state, '', url);
  isPicked = false;
}

// Back shows the run before.
window.addEventListener('popstate', () => {
  const query = new URLSearchParams(window.location.search), run = query.get('run');
  const isOther = (query.get('tab') ?? 'train') === 'train' && run && run !== now.selected;
  if (isOther && now.rows.some(row => row.id === run)) trigger('choose', {run});
});

function blank(id) {
  const row = document.createElement('tr');
  row.dataset.run = id;
  row.innerHTML = `<td><input type="checkbox"></td><td class="thumb"><img alt="" hidden></td>
    <td class="name"><button type="button"></button><small></small></td>
    <td class="doing"><span class="badge"></span><small></small></td><td class="reward"></td><td class="judge"></td>`;
  return row;
}

function fill(row, run) {
  const isChosen = run.id === now.selected, box = row.querySelector('input'), button = row.querySelector('button');
  row.classList.toggle('chosen', isChosen);
  box.checked = isChosen || now.overlay.includes(run.id);
  box.disabled = isChosen;
  put(box, 'ariaLabel', `Show ${run.title} in the charts too`);
  put(button, 'textContent', run.title);
  button.setAttribute('aria-current', String(isChosen));
  put(button, 'title', run.note);
  const [under, doing] = row.querySelectorAll('small'), badge = row.querySelector('.badge');
  put(under, 'textContent', run.under);
  put(doing, 'textContent', run.doing);
  put(badge, 'textContent', run.state);
  put(badge, 'className', `badge ${run.state}`);
  put(row.querySelector('.reward'), 'textContent', run.reward);
  put(row.querySelector('.judge'), 'textContent', run.judge);
  thumbnail(row.querySelector('img'), run);
}

function put(node, property, value) {
  if (node[property] !== value) node[property] = value;
}

async function thumbnail(image, run) {
  if (run.picture === '') return;
  const key = `${run.id} ${run.picture}`;
  if (image.dataset.key === key) return;
  image.dataset.key = key;
  if (!thumbnails.has(key)) thumbnails.set(key, await server.thumbnail({run: run.id}));
  const source = thumbnails.get(key);
  if (!source) thumbnails.delete(key);
  if (source && image.dataset.key === key) { image.src = source; image.hidden = false; }
}

body.addEventListener('click', event => {
  const row = event.target.closest('tr');
  if (!row || event.target.matches('input')) return;
  isPicked = row.dataset.run !== now.selected;
  trigger('choose', {run: row.dataset.run});
});
body.addEventListener('change', event => {
  const run = event.target.closest('tr').dataset.run;
  const overlay = event.target.checked ? [...now.overlay, run] : now.overlay.filter(other => other !== run);
  trigger('compare', {runs: overlay});
});
finder.addEventListener('input', follow);
window.addEventListener('tab-shown', writeAddress);
watch('value', follow);
follow();
