// The voting page: consent, instructions, pairs, completion code. The server holds all state.

import { Api, Refusal } from './api.js';
import { arrival, joining, Kept } from './arrival.js';
import { leaveToLogIn } from './login.js';
import { Pair, touch } from './pair.js';
import { Questions } from './questions.js';

const byId = (id) => document.getElementById(id);
const SECTIONS = ['wait', 'message', 'consent', 'instructions', 'trial', 'done'];
const FACTS = [
  ['contact', 'Contact'], ['min_age', 'Minimum age'], ['ethics', 'Ethics reference'],
  ['pay', 'Pay'], ['retention', 'How long answers are kept'],
];

const study = window.location.pathname.split('/').filter(Boolean).pop();
const api = new Api();
const pair = new Pair();
let info;
let from;
let kept;
let questions;
let trial = null;
let seenAt = 0;
let isPromptKnown = true;
let isBusy = false;

function show(name) {
  if (document.body.dataset.shown !== name) window.scrollTo(0, 0);
  document.body.dataset.shown = name;
  for (const one of SECTIONS) byId(one).hidden = one !== name;
  byId('contact').hidden = name === 'consent'; // which has it among its facts
  byId('withdraw').hidden = !api.token || !['trial', 'instructions', 'done'].includes(name);
  const title = document.querySelector(`#${name} h2`);
  if (title) title.focus({ preventScroll: name === 'trial' });
}

function tell(title, words, { link, again } = {}) {
  byId('message-title').textContent = title;
  byId('message-text').textContent = words;
  byId('message-link').hidden = !link;
  if (link) Object.assign(byId('message-link'), link);
  byId('message-again').hidden = !again;
  byId('message-again').onclick = again || null;
  show('message');
}

// Shows a refusal as a sentence on the page.
async function attempt(act) {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.code === 'unknown_rater') forget(error.message);
    else tell('Something went wrong', error.message, { again: () => attempt(api.token ? resume : act) });
  }
}

function forget(words) {
  api.token = null;
  kept.write(null);
  tell('Your session has ended', words, { again: () => window.location.reload() });
}

// Before the pairs

async function start() {
  info = await api.get(study);
  document.title = info.title;
  byId('title').textContent = info.title;
  from = arrival(new URLSearchParams(window.location.search), info.is_demo);
  kept = new Kept(study, from);
  questions = new Questions(byId('questions'), info.questions, answered);
  questions.onPaint = (side) => pair.mark(side);
  pair.onChoose = (side) => questions.answer(side);
  questions.clock = () => Math.max(0, Math.round(performance.now() - seenAt));
  mark(from.source);
  describe();
  api.token = kept.read();
  if (api.token) return resume();
  if (info.status !== 'open' && from.source !== 'pilot') {
    const words = { draft: 'The study is not open yet.', paused: 'The study is paused. Come back later.', closed: 'The study is closed.' };
    return tell('The study does not accept answers now', words[info.status]);
  }
  return from.login ? agree() : askConsent(); // a rater who logged in agreed before
}

function mark(source) {
  const words = { pilot: 'Pilot: your answers are not analyzed.', demo: 'Demonstration: your answers are marked as a demonstration.' }[source];
  byId('marked').hidden = !words;
  byId('marked').textContent = words || '';
}

function describe() {
  byId('consent-text').textContent = info.consent.text;
  byId('consent-facts').replaceChildren(...FACTS.filter(([name]) => info.consent[name]).flatMap(([name, words]) => {
    const facts = [document.createElement('dt'), document.createElement('dd')];
    facts[0].textContent = words;
    facts[1].textContent = info.consent[name];
    return facts;
  }));
  byId('contact').textContent = info.consent.contact ? `Contact: ${info.consent.contact}` : '';
  byId('instructions-text').textContent = info.instructions;
  byId('num-questions').textContent = info.questions.length === 1 ? 'one question' : `${info.questions.length} questions`;
  byId('about-blind').hidden = !questions.hasBlindPart;
  byId('about-skip').hidden = !info.allow_skip;
  byId('skip').hidden = !info.allow_skip;
  byId('legend-skip').hidden = !info.allow_skip;
  byId('legend-tie').hidden = !info.questions.some((one) => one.allow_tie);
}

function askConsent() {
  byId('preview').hidden = !from.isPreview;
  byId('agree').disabled = Boolean(from.isPreview);
  show('consent');
}

async function agree() {
  if (!api.token) {
    if (from.source === 'hf' && !from.login) return logIn();
    const body = joining(from);
    from.login = null; // a code is good for once
    api.token = (await api.post(`${study}/join`, body)).token;
    kept.write(api.token);
  }
  const where = await api.post('consent', { version: info.consent.version });
  if (where.progress.num_done > 0) return resume();
  return show('instructions');
}

// Hugging Face shows its login in no frame: the study is opened in a tab of its own first.
async function logIn() {
  if (window.self !== window.top) return window.open(window.location.href, '_blank');
  return leaveToLogIn((await api.post(`${study}/login`)).url);
}

async function decline() {
  if (api.token) await api.post('decline');
  kept.write(null);
  const link = info.declined_url && from.source !== 'mturk' && { href: info.declined_url, textContent: 'Return' };
  tell('Thank you', 'You are not taking part, and nothing was stored. You can close this page.', { link });
}

async function resume() {
  const where = await api.get('progress');
  mark(where.source);
  kept.write(api.token);
  if (where.progress.status !== 'active') return finish(where.progress);
  if (!where.has_consented) return askConsent();
  if (where.progress.num_done === 0) return show('instructions');
  return next(await api.post('trial'));
}

// An answer is saved once a copy of it is where a restart of the server does not erase it.

const LOOK_AGAIN_MS = 5000;
let lookingAgain;

function tellSaved({ num_unsaved: count, num_done: done, status }) {
  clearTimeout(lookingAgain);
  const isEnd = status === 'complete' && done > 0;
  const words = count === null ? 'Answers are lost if this server restarts: they are not backed up.'
    : count > 0 ? `${count} ${count === 1 ? 'answer is' : 'answers are'} not saved yet. Keep this page open.`
      : isEnd || !byId('saved').hidden ? 'All your answers are saved.' : '';
  byId('saved').hidden = !words || status === 'withdrawn' || status === 'screened_out';
  byId('saved').classList.toggle('notice', count !== 0);
  if (byId('saved').textContent !== words) byId('saved').textContent = words;
  if (count > 0) lookingAgain = setTimeout(() => attempt(lookAgain), LOOK_AGAIN_MS);
}

async function lookAgain() {
  try {
    tellSaved((await api.get('progress')).progress);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code === 'unknown_rater') throw error;
    lookingAgain = setTimeout(() => attempt(lookAgain), LOOK_AGAIN_MS);
  }
}

// The pairs

async function next(step) {
  tellSaved(step.progress);
  if (!step.trial) return finish(step.progress, step.notice);
  trial = step.trial;
  byId('count').textContent = `${step.progress.num_done} of ${step.progress.num_trials} done`;
  byId('heading').textContent = `Pair ${step.progress.num_done + 1}`;
  Object.assign(byId('bar'), { max: step.progress.num_trials, value: step.progress.num_done });
  byId('practice').hidden = !trial.is_practice;
  byId('fault').hidden = true;
  show('trial');
  questions.begin();
  ask(!questions.hasBlindPart);
  enable(false);
  return look(step.upcoming);
}

// Show both pictures, and let answers in once both are seen.
async function look(upcoming) {
  const current = trial;
  try {
    await pair.show(current.left, current.right);
  } catch (error) {
    if (error.name !== 'EncodingError') throw error;
    if (trial === current) failPictures(upcoming);
    return;
  }
  if (trial !== current) return;
  seenAt = performance.now();
  enable(true);
  warnIfSmall();
  pair.prepare(upcoming);
  await noteShown(current);
}

// A failure to store the time does not interrupt the rater.
async function noteShown(current) {
  try {
    await api.post('shown', { trial: current.id });
  } catch (error) {
    if (!(error instanceof Refusal) || !['unavailable', 'unreachable'].includes(error.code)) throw error;
  }
}

function failPictures(upcoming) {
  fault('The pictures could not be loaded.');
  const again = document.createElement('button');
  Object.assign(again, { type: 'button', textContent: 'Try again', onclick: () => { byId('fault').hidden = true; look(upcoming); } });
  byId('fault').append(' ', again);
  byId('skip').disabled = false;
}

function ask(isKnown) {
  isPromptKnown = isKnown;
  byId('told').hidden = !isKnown;
  byId('prompt').textContent = isKnown ? `Text: ${trial.prompt}` : '';
  fold(true);
  questions.ask(isKnown);
  byId('legend-digits').hidden = questions.asked.length < 2;
  byId('last-digit').textContent = questions.asked.length;
  refresh();
}

// A phone shows two lines of a text, and all of it after a tap.
function fold(isFolded) {
  const text = byId('prompt');
  text.classList.toggle('folded', isFolded);
  const [textContent, hidden] = isFolded ? ['More', text.scrollHeight <= text.clientHeight] : ['Less', false];
  Object.assign(byId('more'), { textContent, hidden, ariaExpanded: String(!isFolded) });
}

function refresh() {
  const isLast = isPromptKnown || !questions.all.some((one) => one.show_prompt);
  byId('submit').textContent = isLast ? 'Submit' : 'Show the text';
  byId('submit').disabled = isBusy || !questions.isEnabled || !questions.areAnswered;
}

// On a phone the text appears with the last answer before it, unless a tie may still get its reason.
function answered(side) {
  refresh();
  const isLast = byId('submit').textContent === 'Submit';
  if (touch.matches && side !== 'tie' && !isLast && questions.areAnswered) attempt(submit);
}

function enable(isOn) {
  isBusy = !isOn;
  questions.enable(isOn);
  byId('skip').disabled = !isOn;
  refresh();
}

function warnIfSmall() {
  byId('small').hidden = true; // or its own height would keep the pictures small
  byId('small').hidden = pair.size >= info.min_picture_px;
  if (!byId('small').hidden) byId('small').textContent = `Each picture is ${pair.size} pixels wide here, and at least ${info.min_picture_px} are needed. Make the window larger, or turn your phone.`;
}

function fault(words) {
  byId('fault').textContent = words;
  byId('fault').hidden = !words;
}

async function submit() {
  if (byId('submit').disabled) return;
  if (byId('submit').textContent !== 'Submit') {
    ask(true);
    questions.enable(true);
    refresh();
    byId('heading').focus({ preventScroll: true });
    return;
  }
  const screen = { viewport_width: window.innerWidth, viewport_height: window.innerHeight, picture_size: pair.size };
  await send('vote', { trial: trial.id, answers: questions.answers, screen }, 'Answered');
}

async function skip() {
  if (info.allow_skip && !byId('skip').disabled) await send('skip', { trial: trial.id }, 'Skipped');
}

async function send(path, body, word) {
  enable(false);
  let step;
  try {
    step = await api.post(path, body);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code === 'unknown_rater') throw error;
    return refuse(error);
  }
  const isSaved = path === 'vote' && step.progress.num_unsaved === 0;
  byId('live').textContent = `${isSaved ? 'Saved' : word}, ${step.progress.num_done} of ${step.progress.num_trials}.`;
  return next(step);
}

// A refused answer: the rater may send it again, or continues with another pair.
async function refuse(error) {
  const isGone = error.code === 'trial_expired';
  const following = isGone ? next(await api.post('trial')) : enable(true);
  fault(error.message);
  byId('submit').scrollIntoView({ block: 'nearest' }); // what is said has pushed it down
  return following;
}

function finish(progress, notice) {
  trial = null;
  tellSaved(progress);
  if (progress.status === 'withdrawn') return tell('Your answers are withdrawn', 'They will not be analyzed. You can close this page.');
  if (progress.status === 'screened_out') {
    const link = progress.return_url && { href: progress.return_url, textContent: 'Return' };
    return tell('Thank you', 'You are not taking part. You can close this page.', { link });
  }
  if (notice) return tell('No more pairs now', notice, { again: () => attempt(resume) });
  if (progress.status !== 'complete') return tell('Thank you', 'The study has enough answers for now. You can close this page.');
  if (!progress.completion_code) return tell('Thank you', 'You have reached the end. Too many pairs were skipped for a completion code. You can close this page.');
  byId('code-line').hidden = !progress.completion_code;
  byId('code').textContent = progress.completion_code || '';
  byId('return').hidden = !progress.return_url;
  if (progress.return_url) byId('return').href = progress.return_url;
  if (from.submitTo) {
    const form = byId('mturk');
    Object.assign(form, { action: from.submitTo, hidden: false });
    form.assignmentId.value = from.assignment;
    form.code.value = progress.completion_code;
  }
  byId('bar').value = byId('bar').max;
  return show('done');
}

async function withdraw() {
  byId('sure').close();
  const where = await api.post('withdraw');
  finish(where.progress);
}

// Keys: digits choose the question, arrows and T answer, S skips, Z enlarges, Enter submits.

const ANSWERS = { ArrowLeft: 'left', ArrowRight: 'right', t: 'tie' };
const STACKED = { ArrowUp: 'left', ArrowDown: 'right' };

function isTaken(event) {
  const { target } = event;
  return event.ctrlKey || event.metaKey || event.altKey || event.repeat || byId('trial').hidden
    || byId('sure').open || target.closest('input, textarea, select');
}

// Enter on a button presses that button, but on a chosen answer it submits.
function submits(target) {
  const button = target.closest('button, a');
  return !button || (button.dataset.side && button.getAttribute('aria-pressed') === 'true');
}

document.addEventListener('keydown', (event) => {
  if (isTaken(event)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const side = ANSWERS[key] || (pair.isStacked && STACKED[key]);
  if (side) questions.answer(side);
  else if (/^[1-9]$/.test(key)) questions.choose(Number(key) - 1);
  else if (key === 's') attempt(skip);
  else if (key === 'z' && !byId('zoom').disabled) byId('zoom').click();
  else if (key === 'Enter' && submits(event.target)) attempt(submit);
  else return;
  event.preventDefault();
});

const on = (id, act) => byId(id).addEventListener('click', act);
on('agree', () => attempt(agree));
on('decline', () => attempt(decline));
on('begin', () => attempt(async () => next(await api.post('trial'))));
on('submit', () => attempt(submit));
on('skip', () => attempt(skip));
on('told', () => fold(!byId('prompt').classList.contains('folded')));
on('withdraw', () => byId('sure').showModal());
on('sure-yes', () => attempt(withdraw));
on('sure-no', () => byId('sure').close());
window.addEventListener('resize', () => {
  fold(byId('prompt').classList.contains('folded'));
  if (trial && !byId('trial').hidden) warnIfSmall();
});
api.onTrouble = (words) => { if (!byId('trial').hidden) fault(words); };

attempt(start);
