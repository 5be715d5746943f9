#pragma once

#include <cairo.h>

// The functions of cairo that plots are drawn with, without the prefix of their names.
#define RUNRIG_CAIRO_FUNCTIONS(each)                                                                                 \
  each(create) each(destroy) each(fill) each(image_surface_create) each(line_to) each(move_to) each(rectangle)       \
      each(restore) each(rotate) each(save) each(scale) each(select_font_face) each(set_font_size)                   \
          each(set_line_width) each(set_source_rgb) each(show_text) each(status) each(status_to_string) each(stroke) \
              each(surface_destroy) each(surface_status) each(surface_write_to_png_stream) each(text_extents)        \
                  each(translate)

namespace runrig::cli {

/// cairo, loaded when the first picture needs it: it brings X11 and the fonts' libraries along, eighteen in all, which
/// every start of the command would wait for.
struct Cairo {
#define RUNRIG_CAIRO_MEMBER(name) decltype(&::cairo_##name) name;  // NOLINT(bugprone-macro-parentheses): it is declared
  RUNRIG_CAIRO_FUNCTIONS(RUNRIG_CAIRO_MEMBER)
#undef RUNRIG_CAIRO_MEMBER
};

/// The functions, for as long as the process lives. Thread-safe. Throws Error where the library is not installed.
[[nodiscard]] const Cairo& cairo();

}  // namespace runrig::cli
