// Live charts of one run, or of several on top of each other. The server sends each row once;
// running mean, horizontal axis and scale are computed here, so that changing them asks nobody.
// Plotly keeps its node, and with it the reader's zoom.
const MAX_POINTS = 500;
const RUNS = ['#4f6ef7', '#2ba58c', '#a667d8', '#b58a00', '#c95f96', '#3a9bdc'];
const OTHERS = ['#2ba58c', '#a667d8', '#b58a00', '#3a9bdc', '#c95f96'];
const STATISTICS = {'eval/diversity': '#4f6ef7', 'eval/saturation': '#c95f96', 'eval/contrast': '#7d8590',
  'eval/edge_density': '#2ba58c', 'eval/at_limit': '#d64545'};
const JUDGE = '#e8833a';
const DASHES = ['solid', 'dot', 'dash', 'dashdot'];
const AXES = {updates: 'update', seconds: 'seconds of training', images: 'pictures drawn', queries: 'reward queries',
  unet: 'U-Net calls, forward and backward'};
const COSTS = {queries: ['reward_queries'], unet: ['unet_forward', 'unet_backward']};  // added up over the updates
const PANELS = ['reward', 'divergence', 'statistics', 'steps'];

const held = new Map();  // run -> {columns, bookmark, version, info}
let shown = [];          // [{id, label, version}], the first is the run that is looked at
const options = readOptions();

// What is measured ---------------------------------------------------------------------------

function take(run, answer) {
  const old = held.get(run);
  const columns = answer.is_fresh || !old ? {} : old.columns;
  const before = columns.step ? columns.step.length : 0;
  const added = answer.columns.step ? answer.columns.step.length : 0;
  for (const name of Object.keys(answer.columns)) {
    columns[name] ??= Array(before).fill(null);
  }
  for (const name of Object.keys(columns)) {
    for (let i = 0; i < added; i++) columns[name].push(answer.columns[name]?.[i] ?? null);
  }
  held.set(run, {columns, bookmark: answer.bookmark, info: answer.info, seconds: seconds(columns, answer.info)});
}

function seconds(columns, info) {
  // Time since step 0 was measured, pauses between a stop and its resume left out.
  const times = columns.time ?? [], found = [];
  let lost = times[0] ?? 0;
  times.forEach((time, i) => {
    const resumed = i ? info.resumed.filter(moment => moment > times[i - 1] && moment <= time) : [];
    if (resumed.length) lost += resumed.at(-1) - times[i - 1];
    found.push(Math.round((time - lost) * 10) / 10);
  });
  return found;
}

function along(data) {
  if (options.axis === 'seconds') return data.seconds;
  const costs = COSTS[options.axis];
  let total = 0;
  if (costs) return (data.columns.step ?? []).map((_, i) => total += costs.reduce((sum, name) => sum + (data.columns[name]?.[i] ?? 0), 0));
  const scale = options.axis === 'images' ? data.info.pictures_per_step : 1;
  return (data.columns.step ?? []).map(step => step * scale);
}

function series(data, name, scale = value => value) {
  const x = along(data), points = {x: [], y: []};
  (data.columns[name] ?? []).forEach((value, i) => {
    if (value !== null) { points.x.push(x[i]); points.y.push(scale(value)); }
  });
  return points;
}

function smooth(points, width) {
  // Mean and standard deviation of the last `width` points up to each point.
  const mean = [], deviation = [];
  let total = 0, squares = 0;
  points.y.forEach((value, i) => {
    total += value; squares += value * value;
    if (i >= width) { total -= points.y[i - width]; squares -= points.y[i - width] ** 2; }
    const count = Math.min(i + 1, width), center = total / count;
    mean.push(center);
    deviation.push(Math.sqrt(Math.max(squares / count - center * center, 0)));
  });
  return {mean, deviation};
}

function width() {
  // Of the running mean, in updates; until the reader sets it, a twentieth of the run, at least 5.
  const updates = held.get(shown[0]?.id)?.columns.step?.length ?? 0;
  return options.window || Math.max(5, Math.round(updates / 20));
}

function chosen(x, range) {
  // Indices of at most MAX_POINTS points inside the zoom, and one on either side of it.
  let first = 0, last = x.length - 1;
  if (range) {
    while (first < last && x[first + 1] < range[0]) first++;
    while (last > first && x[last - 1] > range[1]) last--;
  }
  const count = last - first + 1;
  if (count <= MAX_POINTS) return Array.from({length: Math.max(count, 0)}, (_, i) => first + i);
  return Array.from({length: MAX_POINTS}, (_, i) => first + Math.round(i * (count - 1) / (MAX_POINTS - 1)));
}

const short = value => Number(value.toPrecision(5));

// Traces --------------------------------------------------------------------------------------

function line(points, name, color, panel, style = {}) {
  if (!points.y.length) return [];
  const keep = chosen(points.x, zoom(panel));
  const {mode = 'lines', dash = 'solid', width = 2, ...rest} = style;
  return [{type: 'scatter', mode, name, x: keep.map(i => points.x[i]), y: keep.map(i => short(points.y[i])),
    line: {color, width, dash}, marker: {color, size: 6}, hovertemplate: '%{y:.4g}', ...rest}];
}

function dots(points, name, color, panel) {
  const style = {mode: 'markers', showlegend: false, hoverinfo: 'skip', hovertemplate: undefined};
  return line(points, name, color, panel, style).map(trace => ({...trace, marker: {color, size: 4, opacity: 0.35}}));
}

function trend(points, name, color, panel, style = {}) {
  const {mean, deviation} = smooth(points, width());
  const center = line({x: points.x, y: mean}, name, color, panel, {width: 2.5, ...style});
  if (!options.band || !points.y.length) return center;
  const edge = sign => line({x: points.x, y: mean.map((value, i) => value + sign * deviation[i])}, name + ' band',
    color, panel, {width: 0, showlegend: false, hoverinfo: 'skip', hovertemplate: undefined});
  const [low] = edge(-1), [high] = edge(1);
  return [low, {...high, fill: 'tonexty', fillcolor: color + '26'}, ...center];
}

const names = (data, prefix) => Object.keys(data.columns).filter(name => name.startsWith(prefix));
const plain = name => name.replace('heldout/', '').replace('audit/', 'audit: ').replace('eval/reward/', '').replace('eval/', '').replaceAll('_', ' ');

const baseOf = (data, name) => data.info.base_scores[name.replace(/^(eval\/reward|heldout|audit)\//, '')];

function standardized(data, name) {
  const base = baseOf(data, name);
  return base ? series(data, name, value => (value - base.mean) / base.deviation) : {x: [], y: []};
}

const judging = data => [...names(data, 'heldout/'), ...names(data, 'audit/')];

function areStandardized() {
  // A judge and an audit have no unit in common but the base model's standard deviation.
  const all = shown.map(run => held.get(run.id)).filter(Boolean);
  return all.some(data => judging(data).length > 1) && all.every(data => judging(data).every(name => baseOf(data, name)));
}

function judges(data, label, color, dashes = DASHES) {
  const values = areStandardized() ? standardized : series;
  return judging(data).flatMap((name, i) => line(values(data, name), label ? `${label}: ${plain(name)}` : plain(name),
    color, 'reward', {mode: 'lines+markers', dash: dashes[i], yaxis: 'y2'}));
}

function rewardOfOne(data) {
  const trained = names(data, 'reward/');
  const others = names(data, 'eval/reward/').filter(name => !(trained.length === 1 && trained[0] === name.slice(5)));
  const marked = {mode: 'lines+markers', dash: 'dot'};
  return [
    ...dots(series(data, 'reward'), 'one update', RUNS[0], 'reward'),
    ...trend(series(data, 'reward'), 'training', RUNS[0], 'reward'),
    ...line(series(data, 'eval/reward'), 'evaluation', RUNS[0], 'reward', marked),
    ...judges(data, '', JUDGE),
    ...others.flatMap((name, i) => line(standardized(data, name), plain(name), OTHERS[i % OTHERS.length], 'reward', {dash: 'dash', width: 1.5})),
  ];
}

function rewardOfMany(data, label, color) {
  const dashed = judges(data, label, color, ['dash', 'dot']).map(trace => ({...trace, showlegend: false}));
  return [...trend(series(data, 'reward'), label, color, 'reward'), ...dashed];
}

function budgetOf(data) {
  // Of a run with beta: auto: what its controller holds, and by what.
  if (!names(data, 'beta').length) return [];
  const style = dash => ({yaxis: 'y2', dash, width: 1.5});
  return [...line(series(data, 'kl_nats'), 'KL, nats', OTHERS[0], 'divergence', style('solid')),
    ...line(series(data, 'kl_budget'), 'budget, nats', OTHERS[0], 'divergence', style('dash')),
    ...line(series(data, 'beta'), 'beta', JUDGE, 'divergence', style('dot'))];
}

function perStep(data) {
  const found = names(data, 'divergence/step_').sort((a, b) => a.slice(16) - b.slice(16));
  const last = (data.columns.divergence ?? []).findLastIndex(value => value !== null);
  return {last, x: found.map((_, i) => i + 1), y: found.map(name => data.columns[name][last])};
}

function stepBars(data, name, color) {
  const {last, x, y} = perStep(data);
  return last < 0 ? [] : [{type: 'bar', name, x, y, marker: {color}, hovertemplate: '%{y:.4g}'}];
}

function traces(panel) {
  const many = shown.length > 1;
  return shown.flatMap((run, i) => {
    const data = held.get(run.id), color = RUNS[i % RUNS.length];
    if (!data) return [];
    const name = many ? run.label : '';
    if (panel === 'reward') return many ? rewardOfMany(data, name, color) : rewardOfOne(data);
    if (panel === 'divergence') return [
      ...(many ? [] : dots(series(data, 'divergence'), 'one update', color, panel)),
      ...trend(series(data, 'divergence'), name || 'total', color, panel),
      ...(many ? [] : budgetOf(data))];
    if (panel === 'steps') return stepBars(data, name || 'latest update', color);
    const marked = {mode: 'lines+markers'};
    if (many) return line(series(data, 'eval/diversity'), name, color, panel, marked);
    return Object.entries(STATISTICS).flatMap(([key, own]) => line(series(data, key), plain(key), own, panel, marked));
  });
}

// Layout --------------------------------------------------------------------------------------

function colors() {
  return document.body.classList.contains('dark')
    ? {text: '#a8b0bd', grid: '#7d859030', ground: '#0b0f19', hover: '#e8eaed', hoverText: '#20242c', warning: '#ff8080'}
    : {text: '#545d68', grid: '#7d859030', ground: '#ffffff', hover: '#20242c', hoverText: '#e8eaed', warning: '#b92c2c'};
}

function titleOf(panel) {
  if (panel === 'statistics') return shown.length > 1 ? 'diversity' : 'share, or pixel value';
  return panel === 'reward' ? 'reward' : 'divergence';
}

function rightTitle(panel) {
  if (panel === 'divergence') return names(held.get(shown[0].id), 'kl_budget').length ? 'KL and budget in nats, beta' : 'KL in nats, beta';
  // A judge that steers is not held out; the audit is.
  const steers = shown.some(run => held.get(run.id)?.info.is_judge_steering);
  if (areStandardized()) return shown.length > 1 ? 'judge (dashed), audit (dotted), base SD' : 'judge, audit (base SD)';
  return shown.length > 1 ? `judge (${steers ? '' : 'held out, '}dashed)` : steers ? 'judge (steers beta), audit' : 'judge (held out)';
}

function scaleOf(data) {
  // A logarithm that would hide most of an axis is not taken; what it hides of the others is said.
  const values = data.filter(trace => trace.hoverinfo !== 'skip').flatMap(trace => trace.y);
  const hidden = values.filter(value => value <= 0).length;
  if (!options.log || !values.length) return {type: 'linear', words: ''};
  if (hidden * 2 > values.length) return {type: 'linear', words: ' (no log: values \u2264 0)'};
  return {type: 'log', words: hidden ? ' (values \u2264 0 left out)' : ''};
}

function layoutOf(panel, data) {
  const {text, grid, hover, hoverText} = colors();
  const axis = {gridcolor: grid, zeroline: false, linecolor: grid, automargin: false};
  const isBars = panel === 'steps', left = scaleOf(data.filter(trace => trace.yaxis !== 'y2'));
  // Narrow margins and small words give the legend more columns, and with them the plot its height.
  const room = node(panel).clientWidth, words = room < 480 ? 10 : 11;
  const [leftMargin, rightMargin] = room < 380 ? [60, 46] : room < 480 ? [70, 56] : [76, 66];
  const layout = {
    uirevision: shown.map(run => run.id).join(), datarevision: Math.random(),
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {color: text, size: 12, family: 'system-ui, sans-serif'},
    margin: {l: leftMargin, r: 18, t: 12, b: 40},
    hovermode: isBars ? 'closest' : 'x unified', hoverlabel: {bgcolor: hover, font: {color: hoverText}},
    modebar: {bgcolor: 'rgba(0,0,0,0)', color: text, activecolor: RUNS[0], remove: ['select2d', 'lasso2d', 'autoScale2d', 'toImage']},
    legend: {orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom', font: {size: words}, traceorder: 'normal'},
    showlegend: data.length > 1, barmode: 'group',
    xaxis: {...axis, title: {text: isBars ? 'step of the sampler' : AXES[options.axis], standoff: 6}, uirevision: `${shown[0]?.id} ${options.axis}`,
      rangemode: 'tozero', spikecolor: text, spikethickness: 1, ...(isBars ? {dtick: 1, rangemode: 'normal'} : {})},
    yaxis: {...axis, title: {text: titleOf(panel) + left.words, standoff: 6}, tickformat: '.3~g', tickfont: {size: words}, type: left.type, uirevision: String(options.log)},
  };
  if (data.some(trace => trace.yaxis === 'y2')) {
    const right = scaleOf(data.filter(trace => trace.yaxis === 'y2'));
    layout.margin.r = rightMargin;
    layout.yaxis2 = {...layout.yaxis, type: right.type, overlaying: 'y', side: 'right', showgrid: false, tickmode: 'auto',
      title: {text: rightTitle(panel) + right.words, standoff: 6},
      ...(panel === 'reward' && areStandardized() ? {autorangeoptions: {include: [-0.1, 0.1]}} : {})};
  }
  return layout;
}

function marks(panel) {
  // A line at every warning of the run that is looked at; its kind is written beside it.
  const data = held.get(shown[0]?.id), {ground, warning: color} = colors();
  if (!data || panel === 'steps') return {};
  const x = along(data), shapes = [], annotations = [];
  for (const warning of data.info.warnings) {
    const place = {xref: 'x', yref: 'paper', x: x[data.columns.step.indexOf(warning.step)]};
    if (place.x === undefined) continue;
    const same = annotations.find(other => other.x === place.x);
    if (same) { same.text += ', ' + warning.warning; same.hovertext += ' ' + warning.message; continue; }
    shapes.push({...place, type: 'line', x0: place.x, x1: place.x, y0: 0, y1: 1, line: {color, width: 1.5, dash: 'dot'}});
    annotations.push({...place, text: '\u25B2 ' + warning.warning, hovertext: warning.message, showarrow: false, textangle: -90,
      xanchor: 'right', y: 0.98, yanchor: 'top', font: {color, size: 11}, bgcolor: ground + 'b0'});
  }
  return {shapes, annotations};
}

function emptied(layout) {
  const isLoading = !props.value || shown.some(run => !held.has(run.id));
  const words = isLoading ? 'Loading' : shown.length ? 'Nothing measured yet' : 'No run yet';
  const annotations = [{text: words, showarrow: false, xref: 'paper', yref: 'paper', x: 0.5, y: 0.5, font: {size: 14}}];
  return {...layout, annotations, shapes: [], xaxis: {visible: false}, yaxis: {visible: false}};
}

const inView = new Set();
const node = panel => element.querySelector(`#${panel}_chart .live-plot`);

function zoom(panel) {
  const axis = node(panel)._fullLayout?.xaxis;
  return axis && axis.autorange === false && node(panel).axisShown === options.axis ? axis.range : null;
}

function figure(panel) {
  const data = traces(panel);
  const layout = layoutOf(panel, data);
  return {data, layout: data.length ? {...layout, ...marks(panel)} : emptied(layout)};
}

async function draw() {
  showWidth();
  while (!window.Plotly) await new Promise(done => setTimeout(done, 30));
  for (const panel of PANELS) {
    const {data, layout} = figure(panel), place = node(panel);
    if (!inView.has(place) && place.data) continue;  // drawn when it is scrolled to or its tab is shown
    await window.Plotly.react(place, data, layout, {responsive: false, displaylogo: false, showSendToCloud: false});
    if (!place.axisShown) place.on('plotly_relayout', change => { if (!change.autosize) draw(); });
    place.axisShown = options.axis;
    place.setAttribute('aria-label', summary(panel, data));
  }
}

function summary(panel, data) {
  const ends = data.filter(trace => trace.showlegend !== false && trace.y.length).map(trace => `${trace.name} ${trace.y.at(-1)}`);
  return `Chart of ${panel}. Latest: ${ends.join(', ') || 'nothing yet'}.`;
}

// Fetching -------------------------------------------------------------------------------------

let busy = false;

async function refresh() {
  if (!props.value || busy) return;
  busy = true;
  let isFirst = true;
  while (true) {
    shown = JSON.parse(props.value);
    for (const id of held.keys()) if (!shown.some(run => run.id === id)) held.delete(id);
    const wanted = shown.filter(run => held.get(run.id)?.version !== run.version);
    if (!wanted.length) break;
    const asked = wanted.map(run => ({run: run.id, ...(held.get(run.id)?.bookmark ?? {offset: 0, time: 0})}));
    const answers = await server.chart_rows({runs: asked});
    if (!answers) break;  // the app does not answer; the next poll asks again
    answers.forEach((answer, i) => {
      if (!answer) return;  // the run is gone or damaged
      take(wanted[i].id, answer);
      if (!answer.has_more) held.get(wanted[i].id).version = wanted[i].version;
    });
    isFirst = false;
    await draw();
    if (answers.includes(null)) break;
  }
  if (isFirst) await draw();
  busy = false;
}

// Controls -------------------------------------------------------------------------------------

function readOptions() {
  const query = new URLSearchParams(window.location.search);
  return {axis: AXES[query.get('x')] ? query.get('x') : 'updates', log: query.get('log') === '1',
    band: query.get('band') !== '0', window: Math.min(Math.max(parseInt(query.get('mean')) || 0, 0), 100)};
}

function writeOptions() {
  const url = new URL(window.location.href);
  const put = (name, value, usual) => value === usual || !isShown() ? url.searchParams.delete(name) : url.searchParams.set(name, value);
  put('x', options.axis, 'updates'); put('log', options.log ? '1' : '0', '0');
  put('band', options.band ? '1' : '0', '1'); put('mean', options.window, 0);
  window.history.replaceState(window.history.state, '', url);
}

function control(name, property, read) {
  const input = element.querySelector(`[name=${name}]`);
  input[property] = options[name];
  input.addEventListener('input', () => { options[name] = read(input); writeOptions(); draw(); });
}

function showWidth() {
  element.querySelector('[name=window]').value = width();
  element.querySelector('.window-shown').textContent = `${width()} updates`;
}

function csv(panel) {
  const wanted = {reward: ['reward', 'eval/reward', 'heldout/', 'audit/'], divergence: ['divergence', 'kl_nats', 'kl_budget', 'beta'], steps: ['divergence/'],
    statistics: ['eval/diversity', 'eval/saturation', 'eval/contrast', 'eval/edge_density', 'eval/at_limit']}[panel];
  const runs = shown.filter(run => held.has(run.id));
  const all = new Set(runs.flatMap(run => Object.keys(held.get(run.id).columns)));
  const columns = [...all].filter(name => wanted.some(start => name.startsWith(start)));
  const rows = [['run', 'step', 'seconds', 'images', ...columns].join()];
  for (const run of runs) {
    const data = held.get(run.id);
    data.columns.step.forEach((step, i) => rows.push([run.id, step, data.seconds[i], step * data.info.pictures_per_step,
      ...columns.map(name => data.columns[name]?.[i] ?? '')].join()));
  }
  return rows.join('\n') + '\n';
}

function download(name, address) {
  const link = document.createElement('a');
  link.href = address; link.download = name; link.click();
}

async function png(panel) {
  const {data, layout} = figure(panel), {ground} = colors();
  const own = {...layout, paper_bgcolor: ground, plot_bgcolor: ground, xaxis: {...layout.xaxis, ...rangeOf(panel, 'xaxis')}, yaxis: {...layout.yaxis, ...rangeOf(panel, 'yaxis')}};
  return window.Plotly.toImage({data, layout: own}, {format: 'png', width: 1000, height: 500, scale: 2});
}

function rangeOf(panel, name) {
  const axis = node(panel)._fullLayout?.[name];
  return axis && axis.autorange === false ? {range: axis.range, autorange: false} : {};
}

const isShown = () => (new URLSearchParams(window.location.search).get('tab') ?? 'train') === 'train';
window.addEventListener('tab-shown', writeOptions);
control('axis', 'value', input => input.value);
control('window', 'value', input => Number(input.value));
control('band', 'checked', input => input.checked);
control('log', 'checked', input => input.checked);
element.addEventListener('click', async event => {
  const button = event.target.closest('button[data-save]');
  if (!button) return;
  const panel = button.closest('.panel').dataset.panel, file = `${shown[0]?.id ?? 'no-run'}-${panel}`;
  if (button.dataset.save === 'png') download(file + '.png', await png(panel));
  else download(file + '.csv', URL.createObjectURL(new Blob([csv(panel)], {type: 'text/csv'})));
});
for (const panel of PANELS) {
  new ResizeObserver(async () => {
    if (!node(panel).data || !node(panel).offsetParent) return;
    await window.Plotly.Plots.resize(node(panel));
    draw();
  }).observe(node(panel));
}
const viewed = new IntersectionObserver(entries => {
  for (const entry of entries) inView[entry.isIntersecting ? 'add' : 'delete'](entry.target);
  if (entries.some(entry => entry.isIntersecting)) draw();  // with the rows that came meanwhile
});
for (const panel of PANELS) viewed.observe(node(panel));
new MutationObserver(draw).observe(document.body, {attributeFilter: ['class']});
watch('value', refresh);
draw().then(refresh);
