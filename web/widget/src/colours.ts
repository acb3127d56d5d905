/** A chatbot's colours, changed as far as it takes to read them (WCAG 2.2, 1.4.3 and 1.4.11). */

export interface Colours {
  accent: string | null;
  background: string | null;
  text: string | null;
}

type Rgb = [number, number, number];

const TEXT = 4.5;
const PARTS = 3;
const WHITE: Rgb = [255, 255, 255];
const INK: Rgb = [17, 20, 27];
const NIGHT: Rgb = [24, 26, 32];
const SNOW: Rgb = [236, 238, 243];
const BLUE: Rgb = [37, 87, 214];

/** The values of the stylesheet's variables. */
export function palette(colours: Partial<Colours>, isDark: boolean): Record<string, string> {
  const given = read(colours.background);
  // a page in the dark keeps the chatbot's accent; its background is that of the day, unless it is dark already
  const background = isDark ? (given && luminance(given) < 0.1 ? given : NIGHT) : (given ?? WHITE);
  const towardsText = (share: number) => mix(background, luminance(background) < 0.2 ? SNOW : INK, share);
  const accent = readable(read(colours.accent) ?? BLUE, background, PARTS);
  // on a background of middling brightness there is room for one shade only
  const softs = [0.055, 0.03, 0.015].map(towardsText);
  const soft = softs.find((one) => contrast(best(background), one) >= TEXT) ?? background;
  const both = [background, soft];
  const wanted = isDark && background !== given ? null : read(colours.text);
  const text = readable(wanted ?? (luminance(background) < 0.2 ? SNOW : INK), both, 7);
  return {
    background: css(background),
    text: css(text),
    soft: css(soft),
    line: css(towardsText(0.13)),
    edge: css(readable(towardsText(0.5), background, PARTS)),
    muted: css(readable(towardsText(0.62), both, TEXT)),
    accent: css(accent),
    "on-accent": css(best(accent)),
    link: css(readable(accent, both, TEXT)),
    tint: css(mix(background, accent, 0.12)),
    "on-tint": css(readable(accent, mix(background, accent, 0.12), TEXT)),
    danger: css(readable([196, 43, 43], both, TEXT)),
  };
}

/** The contrast of two colours, 1 to 21. */
export function contrast(one: Rgb, other: Rgb): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** Read `#rgb` or `#rrggbb`. */
export function read(colour: string | null | undefined): Rgb | null {
  const digits = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(colour ?? "")?.[1];
  if (!digits) return null;
  const long = digits.length === 3 ? [...digits].map((digit) => digit + digit).join("") : digits;
  return [0, 2, 4].map((at) => Number.parseInt(long.slice(at, at + 2), 16)) as Rgb;
}

/** A colour as near as may be that stands out enough from what is behind it. */
function readable(colour: Rgb, behind: Rgb | Rgb[], least: number): Rgb {
  const all = (Array.isArray(behind[0]) ? behind : [behind]) as Rgb[];
  const end = best(all[0] ?? WHITE);
  for (let step = 0; step <= 20; step += 1) {
    const tried = mix(colour, end, step / 20);
    if (all.every((one) => contrast(tried, one) >= least)) return tried;
  }
  return end;
}

function best(behind: Rgb): Rgb {
  return contrast(WHITE, behind) >= TEXT || contrast(WHITE, behind) > contrast([0, 0, 0], behind) ? WHITE : [0, 0, 0];
}

function mix(one: Rgb, other: Rgb, share: number): Rgb {
  return one.map((value, at) => Math.round(value + ((other[at] ?? 0) - value) * share)) as Rgb;
}

function luminance(colour: Rgb): number {
  const [red = 0, green = 0, blue = 0] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const css = (colour: Rgb) => `rgb(${colour.join(" ")})`;
