// Runs in the page: the contrast of each visible text with what is behind it, and of the edges of what can be used, by WCAG 2.
export function contrasts() {
  const parse = color => { const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const over = (top, under) => Object.fromEntries(['r', 'g', 'b'].map(c => [c, top[c] * top.a + under[c] * (1 - top.a)]).concat([['a', 1]]));
  const behind = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const luminance = color => {
    const [r, g, b] = ['r', 'g', 'b'].map(c => color[c] / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, two) => { const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b); return (high + 0.05) / (low + 0.05); };
  let count = 0, worst = 21;
  const bad = [];
  const check = (what, front, back, least) => {
    const found = ratio(over(parse(front), back), back);
    count++; worst = Math.min(worst, found);
    if (found < least) bad.push(`${what}: ${front} on ${JSON.stringify(back)}: ${found.toFixed(2)}`);
  };
  for (const element of document.querySelectorAll('body, body *')) {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element), name = `${element.tagName} #${element.id} .${element.className}`;
    // A button that can't be used, like those of browsers, is not held to it.
    const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (hasText && !element.disabled) {
      check(name, style.color, behind(element), 4.5);
      if (parseFloat(style.fontSize) < 12) bad.push(`${name}: ${style.fontSize}`);
    }
    const before = getComputedStyle(element, '::before');
    if (/\w/.test(before.content) && before.content !== 'none') check(`${name}::before`, before.color, behind(element), 4.5);
    if (/^(INPUT|BUTTON)$/.test(element.tagName)) {
      if (element.placeholder) check(`${name}::placeholder`, getComputedStyle(element, '::placeholder').color, behind(element), 4.5);
      const edge = style.borderColor === style.backgroundColor ? style.backgroundColor : style.borderColor;
      if (element.type !== 'checkbox') check(`${name}'s edge`, edge, behind(element.parentElement), 3);
    }
  }
  // The ring around what has the focus.
  const ring = document.createElement('i');
  ring.style.color = 'var(--link)'; document.body.append(ring);
  for (const ground of ['main', '#list', 'body > header', '#login']) {
    const element = document.querySelector(ground);
    if (element.checkVisibility()) check(`the ring on ${ground}`, getComputedStyle(ring).color, behind(element), 3);
  }
  ring.remove();
  return { count, worst, bad };
}
