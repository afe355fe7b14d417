// Gives panels their place and their id.

const WIDTH = 24; // columns of Grafana's grid

// place lays sections out, one under the other: in each, panels from left to
// right, and on the next line where one does not fit any more. Ids are counted
// in hundreds by section, so that a new panel changes no id, and so breaks no
// link, outside its own.
export const place = (sections) => {
  const placed = [];
  let y = 0;
  sections.forEach((section, s) => {
    const id = 100 * (s + 1);
    if (section.title) {
      placed.push({ type: 'row', id, title: section.title, collapsed: false, panels: [], gridPos: { h: 1, w: WIDTH, x: 0, y } });
      y += 1;
    }
    let x = 0;
    let height = 0;
    section.panels.forEach((panel, i) => {
      const { w, h } = panel.gridPos;
      if (x + w > WIDTH) {
        x = 0;
        y += height;
        height = 0;
      }
      placed.push({ ...finish(panel), id: id + i + 1, gridPos: { h, w, x, y } });
      x += w;
      height = Math.max(height, h);
    });
    y += height;
  });
  return placed;
};

// finish drops what the panel functions took in only to pass it on.
const KEPT = ['datasource', 'description', 'fieldConfig', 'gridPos', 'interval', 'links', 'options', 'targets', 'title', 'transformations', 'type'];
const finish = (panel) => Object.fromEntries(Object.entries(panel).filter(([key]) => KEPT.includes(key)));
