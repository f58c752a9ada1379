// The fixed prompts before training and after any evaluation; a slider goes through them. Pictures
// are asked for when they are shown, and kept. The slider follows new ones while it stands at the end.
const slider = element.querySelector('input'), place = element.querySelector('.preview-step');
const bar = element.querySelector('.preview-bar'), grid = element.querySelector('.previews'), empty = element.querySelector('.empty');
const figure = value => value.toFixed(3).replace('-', '\u2212');
const kept = new Map();  // "run step" -> [{prompt, src, scores}]
let now = {run: '', steps: [], scores: []}, wanted = '';

async function pictures(step) {
  const key = `${now.run} ${step}`;
  if (!kept.has(key)) kept.set(key, server.preview_pictures({run: now.run, step}));
  const found = await kept.get(key);
  if (!found) kept.delete(key);  // no answer; asked for again when it is wanted again
  return found ?? [];
}

function follow() {
  if (!props.value) return;
  const next = JSON.parse(props.value);
  const isAtEnd = next.run !== now.run || Number(slider.value) >= now.steps.length - 1;
  if (next.run !== now.run) kept.clear();
  now = next;
  slider.max = Math.max(now.steps.length - 1, 0);
  slider.disabled = now.steps.length < 2;
  if (isAtEnd) slider.value = slider.max;
  empty.textContent = now.words;
  empty.hidden = now.steps.length > 0;
  bar.hidden = grid.hidden = !now.steps.length;
  if (now.steps.length) draw();
}

async function draw() {
  const step = now.steps[Number(slider.value)], last = now.steps.at(-1);
  const words = step === 0 ? 'before training' : `after update ${step}`;
  place.textContent = words + (step === last && step > 0 ? ' (newest)' : '');
  slider.setAttribute('aria-valuetext', words);
  wanted = `${now.run} ${step}`;
  const asked = wanted;
  const [before, after] = await Promise.all([pictures(now.steps[0]), pictures(step)]);
  if (asked === wanted) fill(before, after, step);
}

function fill(before, after, step) {
  while (grid.children.length > after.length) grid.lastChild.remove();
  after.forEach((picture, i) => {
    const card = grid.children[i] ?? grid.appendChild(blank());
    const first = before.find(one => one.prompt === picture.prompt && one.seed === picture.seed);
    put(card, 0, first, 'before');
    put(card, 1, step === now.steps[0] ? undefined : picture, `update ${step}`);
    card.querySelector('figcaption').textContent = picture.prompt;
    card.querySelector('.scores').textContent = scores(first, picture);
  });
}

function blank() {
  const card = document.createElement('figure');
  card.innerHTML = '<div class="pair"><span><img alt=""><small></small></span><span><img alt=""><small></small></span></div>' +
    '<figcaption></figcaption><p class="scores"></p>';
  return card;
}

function put(card, side, picture, words) {
  const image = card.querySelectorAll('img')[side];
  if (picture && image.src !== picture.src) image.src = picture.src;
  image.style.opacity = picture ? 1 : 0.06;
  image.alt = picture ? `${picture.prompt}, ${words}` : '';
  card.querySelectorAll('small')[side].textContent = picture ? words : '';
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
