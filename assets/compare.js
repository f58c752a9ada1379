// The grid of a comparison. The server says which comparison is shown and how far it is; the browser
// asks for its plan once, for scores and pictures as they come, and sorts and enlarges by itself.
const BATCH = 32, ROWS = 16;
const grid = element.querySelector('.cmp-grid'), bar = element.querySelector('.cmp-bar');
const more = element.querySelector('.cmp-more'), large = element.querySelector('.cmp-large');
const stage = element.querySelector('.cmp-stage');
let plan = null, scores = new Map(), pictures = new Map(), limit = ROWS, nodes = new Map();
let isBusy = false, opened = null, told = 0;  // told: rows of scores received

const pick = name => element.querySelector(`[name=${name}]`);
const at = (column, row) => column * plan.rows.length + row;
const figure = value => value === undefined || value === null ? ''
  : value.toFixed(Math.abs(value) < 100 ? 3 : 1).replace('-', '\u2212');

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// What is drawn --------------------------------------------------------------------------------

function begin(answer) {
  plan = answer; scores = new Map(); pictures = new Map(); limit = ROWS; opened = null; told = 0;
  if (large.open) large.close();
  const arms = plan.columns.map((column, k) => [k, column.title]);
  fill(pick('measure'), plan.measures.map(name => [name, named(name)]), plan.sorted_by);
  fill(pick('arm'), [['all', 'all arms'], ...arms], 'all');
  fill(pick('left'), arms, plan.base ?? 0);
  fill(pick('right'), arms, Math.min(1, arms.length - 1));
  pick('sort').value = 'order';
  bar.hidden = false;
  putIntoAddress();
}

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, words]) => make('option', {value: key, innerText: words})));
  select.value = String(value);
}

const named = name => name.replaceAll('_', ' ') + (name === plan.judge ? ' (held out)' : '');

function putIntoAddress() {
  const url = new URL(window.location.href);
  const isShown = url.searchParams.get('tab') === 'compare';
  if (isShown && !plan) return;
  if (isShown) url.searchParams.delete('arms');
  if (isShown) url.searchParams.set('comparison', plan.key); else url.searchParams.delete('comparison');
  window.history.replaceState(null, '', url);
}

// Sorting --------------------------------------------------------------------------------------

function rank(row) {
  const name = pick('measure').value, arm = pick('arm').value;
  const values = plan.columns.map((_, k) => scores.get(at(k, row))?.[name]);
  const wanted = (arm === 'all' ? values : [values[arm]]).filter(value => value !== undefined && value !== null);
  if (!wanted.length) return null;
  const mean = wanted.reduce((a, b) => a + b, 0) / wanted.length;
  switch (pick('sort').value) {
    case 'high': return -mean;
    case 'low': return mean;
    case 'apart': {
      const all = values.filter(value => value !== undefined && value !== null);
      const center = all.reduce((a, b) => a + b, 0) / all.length;
      return -Math.sqrt(all.reduce((sum, value) => sum + (value - center) ** 2, 0) / all.length);
    }
    case 'change': {
      const changes = plan.columns.map((column, k) => [k, column.base]).filter(([k, base]) => base !== null && base !== k
        && (arm === 'all' || Number(arm) === k)).map(([k, base]) => Math.abs(values[k] - values[base])).filter(Number.isFinite);
      return changes.length ? -changes.reduce((a, b) => a + b, 0) / changes.length : null;
    }
    default: return row;
  }
}

function order() {
  const rows = plan.rows.map((_, row) => row);
  if (pick('sort').value === 'order') return rows;
  const ranks = new Map(rows.map(row => [row, rank(row) ?? Infinity]));
  return rows.sort((a, b) => ranks.get(a) - ranks.get(b) || a - b);
}

// Drawing the grid -----------------------------------------------------------------------------

function draw() {
  if (!plan) return;
  const shown = order().slice(0, limit);
  grid.style.setProperty('--arms', plan.columns.length);
  if (grid.dataset.key !== plan.key) { nodes = new Map(); grid.dataset.key = plan.key; }
  const heads = nodes.get('heads') ?? make('div', {className: 'cmp-heads'}, ...plan.columns.map(head));
  nodes.set('heads', heads);
  grid.replaceChildren(heads, ...shown.map(row => {
    if (!nodes.has(row)) nodes.set(row, line(row));
    return nodes.get(row);
  }));
  for (const row of shown) plan.columns.forEach((_, column) => show(at(column, row)));
  more.hidden = limit >= plan.rows.length;
  more.innerText = `Show more (${shown.length} of ${plan.rows.length} rows)`;
}

function head(column) {
  const words = column.trained.length ? `trained on ${column.trained.join(', ')}` : '';
  return make('div', {title: column.title}, make('b', {innerText: column.label}), make('small', {innerText: [column.value, words].filter(Boolean).join(' \u00b7 ')}));
}

function line(row) {
  const {prompt, seed} = plan.rows[row];
  const cells = plan.columns.map((column, k) => {
    const index = at(k, row);
    const button = make('button', {type: 'button', className: 'cmp-open'}, make('i', {className: 'coming'}));
    button.dataset.index = index;
    button.setAttribute('aria-label', `${prompt}, seed ${seed}, ${column.title}: enlarge`);
    const cell = make('figure', {}, button, make('figcaption', {innerText: '\n'.repeat(plan.shown.length - 1) + '\u00a0'}));
    nodes.set('cell' + index, cell);
    return cell;
  });
  return make('section', {className: 'cmp-row'}, make('h3', {innerText: prompt}, make('small', {innerText: ` seed ${seed}`})), make('div', {className: 'cmp-cells'}, ...cells));
}

function show(index) {
  const cell = nodes.get('cell' + index), values = scores.get(index);
  if (values && !cell.dataset.scored) {
    cell.dataset.scored = 'yes';
    const {trained} = plan.columns[Math.floor(index / plan.rows.length)];
    cell.querySelector('figcaption').replaceChildren(...plan.shown.map(name => make('span', {className: trained.includes(name) ? 'trained' : '',
      title: trained.includes(name) ? 'trained on this' : name === plan.judge ? 'held out: nothing is trained on it' : ''}, make('em', {innerText: named(name)}), make('b', {innerText: figure(values[name])}))));
  }
  if (pictures.get(index) === null) cell.querySelector('.coming').innerText = 'The file is damaged.';
  else if (pictures.has(index) && !cell.querySelector('img')) {
    cell.querySelector('.coming').replaceWith(make('img', {src: pictures.get(index), alt: ''}));
  }
}

// Fetching -------------------------------------------------------------------------------------

async function refresh() {
  if (isBusy || !props.value) return;
  isBusy = true;
  let state = JSON.parse(props.value);
  try {
    while (true) {
      if (plan?.key !== state.key) {
        const answer = await server.compare_plan({key: state.key});
        if (!answer) break;
        begin(answer);
        draw();
      }
      if (told < state.num_drawn) {
        const rows = await server.compare_rows({key: plan.key, after: told});
        if (!rows?.length) break;
        told += rows.length;
        for (const [index, values] of rows) scores.set(index, values);
        draw();
      }
      const lacking = visible().filter(index => scores.has(index) && !pictures.has(index)).slice(0, BATCH);
      if (lacking.length) {
        const found = await server.compare_pictures({key: plan.key, indices: lacking});
        if (!found) break;
        lacking.forEach((index, k) => pictures.set(index, found[k]));
        draw();
        if (opened !== null) enlarge();
      }
      state = JSON.parse(props.value);
      if (plan.key === state.key && told >= state.num_drawn && !lacking.length) break;
    }
  } finally { isBusy = false; }
}

function visible() {
  const rows = order().slice(0, limit);
  if (opened !== null && !rows.includes(opened)) rows.push(opened);
  return rows.flatMap(row => plan.columns.map((_, column) => at(column, row)));
}

// Two arms, large ------------------------------------------------------------------------------

function open(index) {
  const column = Math.floor(index / plan.rows.length), {base} = plan.columns[column];
  opened = index % plan.rows.length;
  pick('right').value = String(column);
  pick('left').value = String(base !== null && base !== column ? base : column === 0 ? Math.min(1, plan.columns.length - 1) : 0);
  large.showModal();
  enlarge();
}

function enlarge() {
  const {prompt, seed} = plan.rows[opened], mode = element.querySelector('[name=cmp-mode]:checked').value;
  const sides = ['left', 'right'].map(side => ({side, column: Number(pick(side).value)}));
  element.querySelector('.cmp-prompt').innerText = `${prompt} \u00b7 seed ${seed}`;
  stage.dataset.mode = mode;
  stage.style.setProperty('--place', pick('place').value + '%');
  pick('place').hidden = mode !== 'slider';
  const [left, right] = sides.map(({column}) => plan.columns[column].title);
  element.querySelector('.cmp-hint').innerText = {slider: `Left of the line: ${left}. Right: ${right}.`, side: `${left} | ${right}`,
    hover: `${left}; under the pointer, or while Space is held: ${right}.`}[mode];
  for (const {side, column} of sides) {
    const image = stage.querySelector('.cmp-' + side), source = pictures.get(at(column, opened));
    image.hidden = !source;
    if (source) { image.src = source; image.alt = `${prompt}, ${plan.columns[column].title}`; }
  }
  const head = make('tr', {}, make('th'), make('th', {innerText: left}), make('th', {innerText: right}));
  const rows = plan.measures.map(name => make('tr', {}, make('th', {innerText: named(name)}),
    ...sides.map(({column}) => make('td', {innerText: figure(scores.get(at(column, opened))?.[name])}))));
  element.querySelector('.cmp-figures').replaceChildren(make('table', {}, make('tbody', {}, head, ...rows)));
}

function step(by) {
  const rows = order();
  opened = rows[(rows.indexOf(opened) + by + rows.length) % rows.length];
  enlarge();
  refresh();
}

grid.addEventListener('click', event => {
  const button = event.target.closest('.cmp-open');
  if (button) open(Number(button.dataset.index));
});
large.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (event.target === large || button?.dataset.close !== undefined) large.close();
  else if (button) step(Number(button.dataset.step));
});
large.addEventListener('close', () => { opened = null; });
large.addEventListener('input', enlarge);
large.addEventListener('keydown', event => {
  if (['INPUT', 'SELECT'].includes(event.target.tagName)) return;
  if (event.key === 'ArrowLeft') step(-1);
  if (event.key === 'ArrowRight') step(1);
  if (event.key === ' ' && event.target === stage) { stage.classList.add('turned'); event.preventDefault(); }
});
large.addEventListener('keyup', () => stage.classList.remove('turned'));
stage.addEventListener('pointermove', event => {
  if (stage.dataset.mode !== 'slider' || !(event.buttons || event.pointerType === 'mouse')) return;
  const box = stage.getBoundingClientRect();
  pick('place').value = 100 * (event.clientX - box.left) / box.width;
  stage.style.setProperty('--place', pick('place').value + '%');
});
bar.addEventListener('input', () => { limit = ROWS; draw(); refresh(); });
bar.addEventListener('click', async event => {
  if (event.target.dataset.copy === undefined) return;
  const link = `${window.location.origin}${window.location.pathname}?tab=compare&comparison=${plan.key}`;
  const area = make('textarea', {value: link});
  document.body.append(area); area.select(); document.execCommand('copy'); area.remove();
  event.target.innerText = 'Copied';
  setTimeout(() => { event.target.innerText = 'Copy link'; }, 1200);
});
more.addEventListener('click', () => { limit += ROWS; draw(); refresh(); });
new IntersectionObserver(putIntoAddress).observe(grid);
watch('value', refresh);
refresh();
