"""A picture of the operators' page for README.md, as SVG: the boxes and texts that a browser has laid out."""

from xml.sax.saxutils import escape, quoteattr

# ["rect", x, y, width, height, radius, fill, stroke] and ["text", x, y, size, weight, color, family, text], in order
_LAID_OUT = """(height) => {
    const found = [], isSeen = (color) => color !== "transparent" && !color.endsWith(", 0)");
    const round = (x) => Math.round(x * 10) / 10;
    const text = (node) => {
        const style = getComputedStyle(node.parentElement), range = document.createRange();
        const family = style.fontFamily.includes("mono") ? "monospace" : "sans-serif";
        let line = null, top = null;
        for (const word of node.textContent.matchAll(/\\S+/g)) {
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const box = range.getClientRects()[0];
            if (!box || box.bottom > height) continue;
            if (box.top === top) { line[7] += " " + word[0]; continue; }
            top = box.top;
            line = ["text", round(box.left), round(top + box.height * 0.76), parseFloat(style.fontSize),
                style.fontWeight, style.color, family, word[0]];
            found.push(line);
        }
    };
    const walk = (node) => {
        if (node.nodeType === Node.TEXT_NODE) text(node);
        if (node.nodeType !== Node.ELEMENT_NODE) return;
        const style = getComputedStyle(node), box = node.getBoundingClientRect();
        if (style.display === "none" || style.visibility === "hidden") return;
        const isFramed = parseFloat(style.borderTopWidth) && parseFloat(style.borderLeftWidth);
        const fill = isSeen(style.backgroundColor) ? style.backgroundColor : "none";
        const stroke = isFramed && isSeen(style.borderTopColor) ? style.borderTopColor : "none";
        const dot = getComputedStyle(node, "::before");
        if (dot.borderRadius === "50%" && box.bottom <= height)
            found.push(["rect", round(box.left), round(box.top + box.height / 2 - parseFloat(dot.height) / 2),
                parseFloat(dot.width), parseFloat(dot.height), parseFloat(dot.width) / 2, dot.backgroundColor, "none"]);
        if (node.tagName === "rect" && box.bottom <= height)
            found.push(["rect", ...[box.left, box.top, box.width, box.height].map(round), 0, style.fill, "none"]);
        if (box.width && box.bottom <= height && (fill !== "none" || stroke !== "none"))
            found.push(["rect", ...[box.left, box.top, box.width, box.height].map(round),
                parseFloat(style.borderTopLeftRadius) || 0, fill, stroke]);
        node.childNodes.forEach(walk);
    };
    walk(document.body);
    return found;
}"""


def picture(page, width, height):
    """The top `height` pixels of `page`, a Playwright page, as the text of an SVG file."""
    page.set_viewport_size({"width": width, "height": height})
    drawn = ['<rect width="100%" height="100%" fill="white"/>']
    for kind, x, y, *rest in page.evaluate(_LAID_OUT, height):
        if kind == "rect":
            *sizes, fill, stroke = rest
            box = 'x="%s" y="%s" width="%s" height="%s" rx="%s"' % (x, y, *sizes)
            drawn.append("<rect %s fill=%s stroke=%s/>" % (box, quoteattr(fill), quoteattr(stroke)))
        else:
            size, weight, color, family, words = rest
            font = 'font-size="%s" font-weight="%s" font-family="%s"' % (size, weight, family)
            drawn.append('<text x="%s" y="%s" %s fill=%s>%s</text>' % (x, y, font, quoteattr(color), escape(words)))
    opening = '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">'
    return "\n".join([opening % (width, height, width, height), *drawn, "</svg>", ""])
