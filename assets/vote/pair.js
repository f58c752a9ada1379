// The two pictures: shown together once both are decoded, enlarged together at the same place. A tap
// chooses a picture, a click enlarges both.

const byId = (id) => document.getElementById(id);
export const touch = window.matchMedia('(hover: none) and (pointer: coarse)');

export class Pair {
  #ahead = new Map();

  constructor() {
    this.box = byId('pair');
    this.images = [byId('left'), byId('right')];
    this.button = byId('zoom');
    this.button.addEventListener('click', () => this.zoom(!this.isZoomed, 50, 50));
    this.frames = [...this.box.querySelectorAll('.frame')];
    for (const frame of this.frames) this.#listen(frame);
  }

  get isZoomed() {
    return this.box.classList.contains('zoomed');
  }

  get isStacked() {
    const [left, right] = this.images.map((image) => image.parentElement.getBoundingClientRect());
    return right.top >= left.bottom;
  }

  // Width of either picture as shown, in CSS pixels.
  get size() {
    return Math.round(this.images[0].parentElement.getBoundingClientRect().width);
  }

  // Show which side is chosen, if any.
  mark(side) {
    this.frames.forEach((frame, index) => frame.parentElement.classList.toggle('chosen', side === ['left', 'right'][index]));
  }

  // Load pictures that will be needed, without showing them.
  prepare(addresses) {
    this.#ahead = new Map(addresses.map((address) => {
      const image = new Image();
      image.src = address;
      image.decode().catch(() => {}); // tried again, and told, when it is shown
      return [address, image];
    }));
  }

  // Resolves when both are decoded and on the screen; rejects if one cannot be loaded.
  async show(left, right) {
    this.hide();
    const addresses = [left, right];
    this.images.forEach((image, index) => { image.src = addresses[index]; });
    await Promise.all(this.images.map((image) => image.decode()));
    if (this.images[0].getAttribute('src') !== left) return;
    this.box.classList.add('seen');
    this.button.disabled = false;
    await new Promise((painted) => requestAnimationFrame(painted));
  }

  hide() {
    this.zoom(false);
    this.box.classList.remove('seen');
    this.button.disabled = true;
    for (const image of this.images) image.removeAttribute('src');
  }

  zoom(isOn, x = 50, y = 50) {
    this.box.classList.toggle('zoomed', isOn);
    this.button.setAttribute('aria-pressed', String(isOn));
    this.#aim(x, y);
  }

  #aim(x, y) {
    for (const image of this.images) image.style.transformOrigin = `${x}% ${y}%`;
  }

  #listen(frame) {
    const place = (event) => {
      const box = frame.getBoundingClientRect();
      const share = (value, size) => Math.min(100, Math.max(0, (100 * value) / size));
      return [share(event.clientX - box.left, box.width), share(event.clientY - box.top, box.height)];
    };
    let moved = 0;
    frame.addEventListener('pointerdown', () => { moved = 0; });
    frame.addEventListener('pointermove', (event) => {
      moved += Math.abs(event.movementX) + Math.abs(event.movementY);
      if (this.isZoomed) this.#aim(...place(event));
    });
    frame.addEventListener('click', (event) => {
      const wasDrag = event.pointerType === 'touch' && moved > 12;
      if (!this.box.classList.contains('seen') || wasDrag) return;
      if (touch.matches && !this.isZoomed) this.onChoose(['left', 'right'][this.frames.indexOf(frame)]);
      else this.zoom(!this.isZoomed, ...place(event));
    });
  }
}
