// The list of studies; its value names the selected study, and so does the address.
let shown = '';

function follow() {
  if (!props.value) return;
  const next = JSON.parse(props.value);
  const focused = element.contains(document.activeElement) ? document.activeElement.closest('tr')?.dataset.study : null;
  element.querySelector('.run-list').innerHTML = next.html;
  if (focused) element.querySelector(`[data-study="${focused}"] button`)?.focus();
  if (next.selected || shown) { shown = next.selected; writeAddress(); }
}

function writeAddress() {
  const url = new URL(window.location.href), old = url.href;
  const isShown = url.searchParams.get('tab') === 'study';
  if (isShown && !shown) return;  // the server has not chosen yet: it may read the address
  if (shown && isShown) url.searchParams.set('study', shown);
  else url.searchParams.delete('study');
  if (url.href !== old) window.history.replaceState(window.history.state, '', url);
}

element.addEventListener('click', event => {
  const row = event.target.closest('tr[data-study]');
  if (row) trigger('choose', {study: row.dataset.study});
});
window.addEventListener('tab-shown', writeAddress);
watch('value', follow);
follow();
