// Reads a chart's table where the pointer is, or where the arrow keys have gone. The page is complete without it.
for (const chart of document.querySelectorAll('.chart')) {
  const plot = chart.querySelector('.plot'), svg = plot.querySelector('svg');
  const rows = [...chart.querySelectorAll('tbody tr')], heads = [...chart.querySelectorAll('thead th')];
  const add = (parent, name, text) => {
    const element = parent.appendChild(document.createElement(name));
    element.textContent = text;
    return element;
  };
  const hair = add(plot, 'div', ''), tip = add(plot, 'div', '');
  let at = -1;

  const show = index => {
    at = index;
    hair.hidden = tip.hidden = index < 0;
    if (index < 0) return;
    const cells = [...rows[index].cells], list = document.createElement('dl');
    tip.replaceChildren();
    add(tip, 'b', cells[0].textContent + ' UTC');
    heads.slice(1).forEach((head, column) => {
      add(list, 'dt', head.textContent);
      add(list, 'dd', cells[column + 1].textContent);
    });
    tip.append(list);
    const x = svg.getBoundingClientRect().left - plot.getBoundingClientRect().left + svg.clientWidth * rows[index].dataset.x / 100;
    const left = x > plot.clientWidth / 2 ? x - tip.offsetWidth - 12 : x + 12;
    hair.style.left = x + 'px';
    tip.style.left = Math.max(0, Math.min(left, plot.clientWidth - tip.offsetWidth)) + 'px';
  };
  const nearest = event => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * 100;
    const distances = rows.map(row => Math.abs(row.dataset.x - x));
    show(distances.indexOf(Math.min(...distances)));
  };
  const keys = { ArrowLeft: () => Math.max(at - 1, 0), ArrowRight: () => Math.min(at + 1, rows.length - 1), Home: () => 0, End: () => rows.length - 1, Escape: () => -1 };

  hair.className = 'hair';
  tip.className = 'tip';
  tip.setAttribute('role', 'status');
  chart.classList.add('reading');
  plot.tabIndex = 0;
  plot.setAttribute('role', 'group');
  plot.setAttribute('aria-label', chart.querySelector('h2').textContent + ': arrow keys read the values');
  plot.addEventListener('pointermove', nearest);
  plot.addEventListener('pointerdown', nearest);
  plot.addEventListener('pointerleave', () => show(-1));
  plot.addEventListener('blur', () => show(-1));
  plot.addEventListener('keydown', event => {
    if (!keys[event.key]) return;
    event.preventDefault();
    show(keys[event.key]());
  });
  show(-1);
}
