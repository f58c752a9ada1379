// Login with Hugging Face: the code verifier and the state stay in this tab, so only the visit that
// began a login can end it.

const NAME = 'rocm.study.login';

function text(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

// Leave for the provider; it comes back to this address with a code.
export async function leaveToLogIn(address) {
  const verifier = text(crypto.getRandomValues(new Uint8Array(32)));
  const state = text(crypto.getRandomValues(new Uint8Array(16)));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const target = new URL(address);
  target.searchParams.set('state', state);
  target.searchParams.set('code_challenge', text(new Uint8Array(digest)));
  target.searchParams.set('code_challenge_method', 'S256');
  window.sessionStorage.setItem(NAME, JSON.stringify({ state, verifier, path: window.location.pathname }));
  window.location.assign(target);
}

// {code, verifier} of a visit that comes back, null of any other; the code leaves the address bar.
export function cameBack(query) {
  const begun = JSON.parse(window.sessionStorage.getItem(NAME) || 'null');
  window.sessionStorage.removeItem(NAME);
  window.history.replaceState(null, '', `${window.location.pathname}?hf`);
  const isOurs = begun && query.get('state') === begun.state && window.location.pathname === begun.path;
  return isOurs && query.has('code') ? { code: query.get('code'), verifier: begun.verifier } : null;
}
