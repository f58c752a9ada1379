import { cameBack } from './login.js';

// How a rater arrives: from the link, or from data of an earlier session in this browser.

const MTURK_PREVIEW = 'ASSIGNMENT_ID_NOT_AVAILABLE';
const MTURK_HOSTS = ['https://www.mturk.com', 'https://workersandbox.mturk.com'];

// Content of the link: {source, id, isPreview, assignment, submitTo, login}.
export function arrival(query, isDemo) {
  // After # it is sent nowhere and stands in no log.
  const invitation = new URLSearchParams(window.location.hash.slice(1)).get('invite');
  if (invitation) return { source: 'invite', id: invitation };
  if (query.has('state')) return { source: 'hf', login: cameBack(query) };
  if (query.has('hf')) return { source: 'hf' };
  const prolific = query.get('PROLIFIC_PID');
  if (prolific) return { source: 'prolific', id: prolific };
  if (query.has('assignmentId')) {
    const assignment = query.get('assignmentId');
    const host = query.get('turkSubmitTo');
    return {
      source: 'mturk',
      id: query.get('workerId'),
      assignment,
      isPreview: assignment === MTURK_PREVIEW || !query.get('workerId'),
      submitTo: MTURK_HOSTS.includes(host) ? `${host}/mturk/externalSubmit` : null,
    };
  }
  if (query.has('pilot')) return { source: 'pilot' };
  return { source: isDemo ? 'demo' : 'link' };
}

export function joining(from) {
  if (from.login) return { source: from.source, login: from.login };
  return from.id ? { source: from.source, external_id: from.id } : { source: from.source };
}

// The token of an earlier session: in the address after #, or in this browser for the same rater.
export class Kept {
  constructor(study, from) {
    this.name = `rocm.study.${study}`;
    this.who = `${from.source}:${from.id || ''}`;
  }

  read() {
    const inAddress = new URLSearchParams(window.location.hash.slice(1)).get('token');
    if (inAddress) return inAddress;
    try {
      const kept = JSON.parse(window.localStorage.getItem(this.name) || '{}');
      return kept.who === this.who ? kept.token : null;
    } catch {
      return null; // storage is blocked or holds something else: the address is enough
    }
  }

  write(token) {
    const address = new URL(window.location.href);
    address.hash = token ? `token=${token}` : '';
    window.history.replaceState(null, '', address);
    try {
      if (token) window.localStorage.setItem(this.name, JSON.stringify({ who: this.who, token }));
      else window.localStorage.removeItem(this.name);
    } catch {
      // storage is blocked: the address alone carries the token
    }
  }
}
