#include "drawing.hpp"

#include <fmt/format.h>

#include <memory>

#include "cairo.hpp"
#include "runrig/channel/object.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::cli {
namespace {

constexpr const char* font = "DejaVu Sans";
constexpr double pixels_a_point = 2;
constexpr double degrees = 3.14159265358979323846 / 180;

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

// Coordinates with what digits a screen shows.
std::string number(double value) {
  std::string text = fmt::format("{:.2f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string svg_rectangle(const Drawing::Rectangle& each) {
  return fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#{:06x}\"/>\n", number(each.x),
                     number(each.y), number(each.width), number(each.height), each.colour);
}

std::string svg_line(const Drawing::Line& each) {
  return fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#{:06x}\" stroke-width=\"{}\"/>\n",
                     number(each.x1), number(each.y1), number(each.x2), number(each.y2), each.colour,
                     number(each.width));
}

std::string svg_text(const Drawing::Text& each) {
  static constexpr const char* anchors[] = {"start", "middle", "end"};
  std::string line =
      fmt::format(R"(<text x="{}" y="{}" font-size="{}" fill="#{:06x}" text-anchor="{}")", number(each.x),
                  number(each.y), number(each.size), each.colour, anchors[static_cast<int>(each.anchor)]);
  if (each.bold) line += " font-weight=\"bold\"";
  if (each.turn != 0) {
    line += fmt::format(" transform=\"rotate({} {} {})\"", number(-each.turn), number(each.x), number(each.y));
  }
  return line + ">" + escaped(each.text) + "</text>\n";
}

void set_colour(cairo_t* canvas, std::uint32_t colour) {
  cairo().set_source_rgb(canvas, (colour >> 16 & 0xff) / 255.0, (colour >> 8 & 0xff) / 255.0, (colour & 0xff) / 255.0);
}

void draw(cairo_t* canvas, const Drawing::Rectangle& each) {
  set_colour(canvas, each.colour);
  cairo().rectangle(canvas, each.x, each.y, each.width, each.height);
  cairo().fill(canvas);
}

void draw(cairo_t* canvas, const Drawing::Line& each) {
  set_colour(canvas, each.colour);
  cairo().set_line_width(canvas, each.width);
  cairo().move_to(canvas, each.x1, each.y1);
  cairo().line_to(canvas, each.x2, each.y2);
  cairo().stroke(canvas);
}

void draw(cairo_t* canvas, const Drawing::Text& each) {
  set_colour(canvas, each.colour);
  cairo().select_font_face(canvas, font, CAIRO_FONT_SLANT_NORMAL,
                           each.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo().set_font_size(canvas, each.size);
  cairo_text_extents_t extents;
  cairo().text_extents(canvas, each.text.c_str(), &extents);
  static constexpr double parts[] = {0, 0.5, 1};  // of the width that lies left of the anchor
  cairo().save(canvas);
  cairo().translate(canvas, each.x, each.y);
  cairo().rotate(canvas, -each.turn * degrees);
  cairo().move_to(canvas, -extents.x_advance * parts[static_cast<int>(each.anchor)], 0);
  cairo().show_text(canvas, each.text.c_str());
  cairo().restore(canvas);
}

extern "C" cairo_status_t append_bytes(void* closure, const unsigned char* data, unsigned length) {
  try {
    static_cast<std::string*>(closure)->append(reinterpret_cast<const char*>(data), length);
    return CAIRO_STATUS_SUCCESS;
  } catch (...) {  // through a C library nothing may be thrown; the caller sees the failure
    return CAIRO_STATUS_NO_MEMORY;
  }
}

void check(cairo_status_t status) {
  if (status == CAIRO_STATUS_SUCCESS) return;
  throw FormatError("draw", "the plot", cairo().status_to_string(status));
}

}  // namespace

std::string svg_of(const Drawing& drawing) {
  std::string svg = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" "
      "height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"{2}, Verdana, sans-serif\">\n",
      number(drawing.width), number(drawing.height), font);
  for (const auto& each : drawing.backgrounds) svg += svg_rectangle(each);
  for (const auto& each : drawing.lines) svg += svg_line(each);
  for (const auto& each : drawing.bars) svg += svg_rectangle(each);
  for (const auto& each : drawing.axes) svg += svg_line(each);
  for (const auto& each : drawing.texts) svg += svg_text(each);
  return svg + "</svg>\n";
}

std::string png_of(const Drawing& drawing) {
  const std::unique_ptr<cairo_surface_t, decltype(Cairo::surface_destroy)> surface(
      cairo().image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(drawing.width * pixels_a_point),
                                   static_cast<int>(drawing.height * pixels_a_point)),
      cairo().surface_destroy);
  check(cairo().surface_status(surface.get()));
  const std::unique_ptr<cairo_t, decltype(Cairo::destroy)> canvas(cairo().create(surface.get()), cairo().destroy);
  cairo().scale(canvas.get(), pixels_a_point, pixels_a_point);
  for (const auto& each : drawing.backgrounds) draw(canvas.get(), each);
  for (const auto& each : drawing.lines) draw(canvas.get(), each);
  for (const auto& each : drawing.bars) draw(canvas.get(), each);
  for (const auto& each : drawing.axes) draw(canvas.get(), each);
  for (const auto& each : drawing.texts) draw(canvas.get(), each);
  check(cairo().status(canvas.get()));
  std::string png;
  check(cairo().surface_write_to_png_stream(surface.get(), &append_bytes, &png));
  return png;
}

}  // namespace runrig::cli
