// The questions of one pair: those without the prompt first, then the prompt, then the others.

const SIDES = [['left', 'Left', 'Top'], ['right', 'Right', 'Bottom'], ['tie', 'No preference', 'No preference']];
const REASONS = [['both_good', 'Both good'], ['both_bad', 'Both bad']];

function make(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export class Questions {
  constructor(box, questions, onChange) {
    this.box = box;
    this.all = questions;
    this.onChange = onChange;
    this.answers = {};
    this.asked = [];
    this.current = 0;
    this.isEnabled = false;
  }

  get hasBlindPart() {
    return this.all.some((one) => !one.show_prompt);
  }

  get areAnswered() {
    return this.asked.every((one) => this.answers[one.key]);
  }

  begin() {
    this.answers = {};
  }

  // Ask the part before the prompt is known, or the part after it.
  ask(isPromptKnown) {
    this.asked = this.all.filter((one) => one.show_prompt === isPromptKnown);
    this.current = 0;
    this.box.replaceChildren(...this.asked.map((one, index) => this.#row(one, index)));
    this.#paint();
  }

  enable(isOn) {
    this.isEnabled = isOn;
    for (const button of this.box.querySelectorAll('button')) button.disabled = !isOn;
  }

  choose(index) {
    if (index < this.asked.length) {
      this.current = index;
      this.#paint();
    }
  }

  answer(side, index = this.current) {
    const question = this.asked[index];
    if (!this.isEnabled || !question || (side === 'tie' && !question.allow_tie)) return;
    this.answers[question.key] = { side, rt_ms: this.clock() };
    const next = this.asked.findIndex((one) => !this.answers[one.key]);
    this.current = next < 0 ? index : next;
    this.#paint();
    this.onChange(side);
  }

  #explain(question, reason) {
    const answer = this.answers[question.key];
    if (answer.tie_reason === reason) delete answer.tie_reason;
    else answer.tie_reason = reason;
    this.#paint();
  }

  #row(question, index) {
    const digit = make('span', { className: 'digit', ariaHidden: 'true', textContent: String(index + 1) });
    const legend = make('legend', {}, this.asked.length > 1 ? digit : '', question.text);
    legend.addEventListener('click', () => this.choose(index));
    const sides = make('div', { className: 'sides' });
    for (const [side, wide, narrow] of SIDES) {
      if (side === 'tie' && !question.allow_tie) continue;
      const words = wide === narrow
        ? [wide]
        : [make('span', { className: 'wide', textContent: wide }), make('span', { className: 'narrow', textContent: narrow })];
      const button = make('button', { type: 'button', disabled: !this.isEnabled }, ...words);
      button.dataset.side = side;
      button.setAttribute('aria-keyshortcuts', { left: 'ArrowLeft', right: 'ArrowRight', tie: 'T' }[side]);
      button.addEventListener('click', () => this.answer(side, index));
      sides.append(button);
    }
    const reasons = make('div', { className: 'reasons', hidden: true }, 'Optional:');
    for (const [reason, words] of REASONS) {
      const button = make('button', { type: 'button', textContent: words });
      button.dataset.reason = reason;
      button.addEventListener('click', () => this.#explain(question, reason));
      reasons.append(button);
    }
    return make('fieldset', {}, legend, sides, reasons);
  }

  #paint() {
    this.onPaint(this.answers[this.asked[this.current]?.key]?.side);
    [...this.box.children].forEach((row, index) => {
      const answer = this.answers[this.asked[index].key];
      row.classList.toggle('current', index === this.current && this.asked.length > 1);
      row.classList.toggle('folded', index !== this.current);
      row.querySelector('.reasons').hidden = !(answer && answer.side === 'tie');
      for (const button of row.querySelectorAll('[data-side], [data-reason]')) {
        const isChosen = answer && (button.dataset.side || button.dataset.reason) === (button.dataset.side ? answer.side : answer.tie_reason);
        button.setAttribute('aria-pressed', String(Boolean(isChosen)));
      }
    });
  }
}
