() => {
  // Words whose contrast with what lies behind them is under AA.
  const parse = text => {
    const canvas = parse.canvas ??= Object.assign(document.createElement('canvas'), {width: 1, height: 1});
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = text; pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = color => {
    const [r, g, b] = color.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = node => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) layers.push(parse(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const opacity = node => { let all = 1; for (let one = node; one; one = one.parentElement) all *= getComputedStyle(one).opacity; return all; };
  const found = {};
  const check = (node, words, style) => {
    const box = node.getBoundingClientRect();
    if (!node.checkVisibility({opacityProperty: true, visibilityProperty: true}) || !box.width || !box.height) return;
    if (node.closest('[disabled], [aria-disabled=true]')) return;
    const under = ground(node), ink = parse(node instanceof SVGElement ? style.fill : style.color);
    const shown = over([...ink.slice(0, 3), ink[3] * opacity(node)], under);
    const [high, low] = [light(shown), light(under)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05), size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) {
      const place = `${node.tagName.toLowerCase()}.${[...node.classList].join('.')}`;
      found[place + ' ' + ratio.toFixed(2)] ??= words.slice(0, 60);
    }
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.nodeValue.trim(), node = walker.currentNode.parentElement;
    if (words && node && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(node.tagName)) check(node, words, getComputedStyle(node));
  }
  for (const field of document.querySelectorAll('input, textarea')) {
    if (field.placeholder && !field.value) check(field, field.placeholder, getComputedStyle(field, '::placeholder'));
    else if (field.value && !['checkbox', 'radio', 'range'].includes(field.type)) check(field, field.value, getComputedStyle(field));
  }
  return found;
}
