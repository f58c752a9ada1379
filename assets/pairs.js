// Pairs to look through: a button strikes one or takes it in again, and keeps the focus.
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
