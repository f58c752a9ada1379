// Pairs of a draft: a button excludes a pair or includes it again, and keeps the focus.
let pressed = null;
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-pair]');
  if (!button) return;
  pressed = button.dataset.pair;
  trigger('strike', {pair: Number(pressed), is_back: button.classList.contains('back')});
});
watch('value', () => requestAnimationFrame(() => {
  if (pressed) element.querySelector(`button[data-pair="${pressed}"]`)?.focus();
  pressed = null;
}));
