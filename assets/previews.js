// The fixed prompts before training and after any evaluation; a slider goes through them. Pictures
// are asked for when they are shown, and kept. Ticked runs stand beside. The slider follows new ones while it stands at the end.
const slider = element.querySelector('input'), place = element.querySelector('.preview-step');
const bar = element.querySelector('.preview-bar'), grid = element.querySelector('.previews'), empty = element.querySelector('.empty');
const figure = value => value.toFixed(3).replace('-', '\u2212');
const kept = new Map();  // "run step" -> [{prompt, src, scores}]
let now = {runs: [], scores: []}, wanted = '';
const steps = () => now.runs[0]?.steps ?? [];

async function pictures(run, step) {
  const key = `${run} ${step}`;
  if (!kept.has(key)) kept.set(key, server.preview_pictures({run, step}));
  const found = await kept.get(key);
  if (!found) kept.delete(key);  // no answer; asked for again when it is wanted again
  return found ?? [];
}

function follow() {
  if (!props.value) return;
  const next = JSON.parse(props.value), run = now.runs[0]?.run;
  const isAtEnd = next.runs[0]?.run !== run || Number(slider.value) >= steps().length - 1;
  for (const key of kept.keys()) if (!next.runs.some(one => one.run === key.split(' ')[0])) kept.delete(key);
  now = next;
  slider.max = Math.max(steps().length - 1, 0);
  slider.disabled = steps().length < 2;
  if (isAtEnd) slider.value = slider.max;
  empty.textContent = now.words;
  empty.hidden = steps().length > 0;
  bar.hidden = grid.hidden = !steps().length;
  if (steps().length) draw();
}

// The newest pictures of each run that are no later than those of the slider.
async function draw() {
  const step = steps()[Number(slider.value)], last = steps().at(-1);
  const words = step === 0 ? 'before training' : `after update ${step}`;
  place.textContent = words + (step === last && step > 0 ? ' (newest)' : '');
  slider.setAttribute('aria-valuetext', words);
  const shown = now.runs.map(one => ({...one, step: one.steps.findLast(other => other <= step)}));
  const asked = wanted = JSON.stringify(shown);
  const found = await Promise.all([pictures(now.runs[0].run, steps()[0]), ...shown.map(one => one.step === undefined ? [] : pictures(one.run, one.step))]);
  if (asked === wanted) fill(found, shown);
}

function fill([before, ...after], shown) {
  while (grid.children.length > after[0].length) grid.lastChild.remove();
  after[0].forEach((picture, i) => {
    const card = grid.children[i] ?? grid.appendChild(blank()), pair = card.querySelector('.pair');
    const same = set => set.find(one => one.prompt === picture.prompt && one.seed === picture.seed);
    while (pair.children.length > shown.length + 1) pair.lastChild.remove();
    while (pair.children.length <= shown.length) pair.insertAdjacentHTML('beforeend', '<span><img alt=""><small></small></span>');
    put(pair.children[0], same(before), 'before');
    shown.forEach((run, k) => {
      const isFirst = run.step === steps()[0], words = `update ${run.step}`;
      put(pair.children[k + 1], isFirst ? undefined : same(after[k]), shown.length > 1 ? `${run.label}, ${words}` : words);
    });
    card.querySelector('figcaption').textContent = picture.prompt;
    const lines = shown.map((run, k) => [run.label, same(after[k])]).filter(([, own]) => own)
      .map(([label, own]) => (shown.length > 1 ? `${label}: ` : '') + scores(same(before), own));
    card.querySelector('.scores').textContent = lines.join('\n');
  });
}

function blank() {
  const card = document.createElement('figure');
  card.innerHTML = '<div class="pair"></div><figcaption></figcaption><p class="scores"></p>';
  return card;
}

function put(place, picture, words) {
  const image = place.querySelector('img');
  if (picture && image.src !== picture.src) image.src = picture.src;
  image.style.opacity = picture ? 1 : 0.06;
  image.alt = picture ? `${picture.prompt}, ${words}` : '';
  place.querySelector('small').textContent = picture ? words : '';
}

function scores(first, picture) {
  const shown = now.scores.filter(name => typeof picture.scores[name] === 'number').map(name => {
    const was = first?.scores[name], is = picture.scores[name];
    return `${name} ${typeof was !== 'number' || was === is ? '' : figure(was) + ' \u2192 '}${figure(is)}`;
  });
  return shown.join(' \u00b7 ');
}

slider.addEventListener('input', draw);
watch('value', follow);
follow();
