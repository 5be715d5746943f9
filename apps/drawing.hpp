#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace runrig::cli {

/// A figure as what it is drawn of, in points from the upper left corner: the same for every kind of file.
struct Drawing {
  enum class Anchor : std::uint8_t { start, middle, end };
  struct Rectangle {
    double x, y, width, height;
    std::uint32_t colour;  // 0xRRGGBB
  };
  struct Line {
    double x1, y1, x2, y2;
    std::uint32_t colour;
    double width;
  };
  struct Text {
    double x, y;  // of the base line
    double size;
    Anchor anchor;
    bool bold;
    std::uint32_t colour;
    std::string text;  // UTF-8
    double turn = 0;   // degrees, against the clock
  };
  double width = 0;
  double height = 0;
  // In this order, from the back to the front.
  std::vector<Rectangle> backgrounds;
  std::vector<Line> lines;
  std::vector<Rectangle> bars;
  std::vector<Line> axes;
  std::vector<Text> texts;
};

/// The bytes of an SVG file.
[[nodiscard]] std::string svg_of(const Drawing& drawing);
/// The bytes of a PNG file with two pixels a point. Throws Error.
[[nodiscard]] std::string png_of(const Drawing& drawing);

}  // namespace runrig::cli
