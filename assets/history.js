// A click on an entry of the history shows it ('select'), on its cross deletes it ('delete').
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-entry]');
  if (!button) return;
  trigger(button.classList.contains('bin') ? 'delete' : 'select', {entry: button.dataset.entry});
});
