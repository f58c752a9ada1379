// The drawing on the Generate page: its address follows what is shown, and its buttons copy.
const KEYS = ['prompt', 'seed', 'num_pictures', 'num_inference_steps', 'guidance_scale', 'adapter',
  'adapter_strength', 'with_base', 'model'];
let arm = 'side';

function query() {
  const node = element.querySelector('[data-query]');
  return node ? new URLSearchParams(node.dataset.query) : null;
}

function putIntoAddress() {
  const wanted = query(), url = new URL(window.location.href);
  const isShown = url.searchParams.get('tab') === 'generate';
  if (isShown && !wanted) return;
  KEYS.forEach(key => url.searchParams.delete(key));
  if (isShown) wanted.forEach((value, key) => url.searchParams.set(key, value));
  window.history.replaceState(null, '', url);
}

function keepArm() {
  const radio = element.querySelector(`input[name="arm"][value="${arm}"]`);
  if (radio) radio.checked = true;
}

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

element.addEventListener('change', event => {
  if (event.target.name === 'arm') arm = event.target.value;
});
element.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const page = window.location.origin + window.location.pathname;
  const isLink = button.dataset.copy === 'link';
  await copy(isLink ? `${page}?${query()}` : element.querySelector('code').innerText);
  const words = button.innerText;
  button.innerText = 'Copied';
  setTimeout(() => { button.innerText = words; }, 1200);
});
window.addEventListener('tab-shown', putIntoAddress);
watch('value', () => { putIntoAddress(); keepArm(); });
putIntoAddress();
