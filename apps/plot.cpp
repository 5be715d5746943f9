#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "cairo.hpp"
#include "common.hpp"
#include "drawing.hpp"
#include "histogram.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

// Points.
constexpr double panel_width = 640;
constexpr double panel_height = 380;
constexpr double left = 78;
constexpr double right = 26;
constexpr double top = 62;
constexpr double bottom = 54;

constexpr std::uint32_t paper = 0xffffff;
constexpr std::uint32_t ink = 0x22282e;
constexpr std::uint32_t grey = 0x68727c;
constexpr std::uint32_t grid = 0xe4e8ec;
constexpr std::uint32_t blue = 0x3a6ea5;

/// Round numbers from the first at or above `low` to the last at or below `high`, about `wanted` of them.
struct Ticks {
  double step = 1;
  std::vector<double> at;

  Ticks(double low, double high, double wanted) {
    if (!(high > low)) {
      at = {low};
      return;
    }
    const double rough = (high - low) / wanted;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    step = power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
    // By whole numbers of steps: a sum of steps would drift.
    const double end = std::floor(high / step + 1e-9);
    for (double i = std::ceil(low / step - 1e-9); i <= end; ++i) at.push_back(i * step + 0.0);
  }

  [[nodiscard]] std::string label(double value) const {
    const double largest = std::max(std::abs(at.front()), std::abs(at.back()));
    if (largest != 0 && (largest >= 1e7 || largest < 1e-4)) return fmt::format("{:.4g}", value);
    const int digits = std::clamp(static_cast<int>(-std::floor(std::log10(step) + 1e-9)), 0, 12);
    return fmt::format("{:.{}f}", value, digits);
  }
};

/// 1,234,567, as labels have it.
std::string grouped(double value) {
  if (value >= 1e9) return fmt::format("{:.4g}", value);
  std::string text = fmt::format("{:.0f}", value);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

// The end says more of a path than its beginning.
std::string shortened(const std::string& text, std::size_t most) {
  std::size_t cut = text.size() > most ? text.size() - most : 0;
  if (cut == 0) return text;
  while (cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) ++cut;
  return "…" + text.substr(cut);
}

std::string number_label(const std::optional<Number>& number) {
  if (!number) return "-";
  if (const auto* real = std::get_if<double>(&*number)) return fmt::format("{:.6g}", *real);
  return number_text(*number);
}

/// One histogram within a drawing.
class Panel {
 public:
  Panel(Drawing& drawing, double x, double y, const batch::DatasetStatistics& of)
      : drawing_(drawing), x_(x + left), y_(y + top), of_(of) {}

  void draw() {
    titles();
    const std::uint64_t most = *std::max_element(of_.counts.begin(), of_.counts.end());
    // Some room above the highest bar, up to a round number.
    Ticks counts(0, std::max<double>(1, static_cast<double>(most)) * 1.05, 5);
    const double highest =
        counts.at.back() >= static_cast<double>(most) ? counts.at.back() : counts.at.back() + counts.step;
    counts = Ticks(0, highest, highest / counts.step);
    count_axis(counts, highest);
    bars(highest);
    value_axis();
  }

 private:
  static constexpr double width = panel_width - left - right;
  static constexpr double height = panel_height - top - bottom;

  void text(double x, double y, double size, Drawing::Anchor anchor, std::uint32_t colour, std::string what,
            bool bold = false, double turn = 0) {
    drawing_.texts.push_back({x, y, size, anchor, bold, colour, std::move(what), turn});
  }

  void titles() {
    const Statistics& s = of_.statistics;
    text(x_, y_ - 36, 15, Drawing::Anchor::start, ink, shortened(printable(of_.dataset), 60), true);
    std::string line =
        fmt::format("{} values   min {}   max {}   mean {:.6g}   std {:.6g}", grouped(static_cast<double>(s.valid())),
                    number_label(s.min()), number_label(s.max()), s.mean(), s.stddev());
    if (s.nan > 0) line += fmt::format("   {} NaN", grouped(static_cast<double>(s.nan)));
    text(x_, y_ - 17, 11, Drawing::Anchor::start, grey, line);
    text(x_ + width, y_ - 36, 11, Drawing::Anchor::end, grey, shortened(printable(of_.file), 36));
  }

  void count_axis(const Ticks& ticks, double highest) {
    for (const double each : ticks.at) {
      const double y = y_ + height * (1 - each / highest);
      if (each > 0) drawing_.lines.push_back({x_, y, x_ + width, y, grid, 1});
      text(x_ - 8, y + 4, 11, Drawing::Anchor::end, grey, grouped(each));
    }
    text(x_ - 62, y_ + height / 2, 11, Drawing::Anchor::middle, grey, "values per bin", false, 90);
  }

  [[nodiscard]] double place(double value) const {
    const double low = of_.edges.front();
    const double span = of_.edges.back() - low;
    return x_ + (span > 0 ? (value - low) / span : 0.5) * width;
  }

  void bars(double highest) {
    const double gap = width / static_cast<double>(of_.counts.size()) > 5 ? 1 : 0;
    for (std::size_t i = 0; i < of_.counts.size(); ++i) {
      if (of_.counts[i] == 0) continue;
      const double begin = place(of_.edges[i]);
      const double bar = std::max(0.5, static_cast<double>(of_.counts[i]) / highest * height);
      drawing_.bars.push_back(
          {begin + gap / 2, y_ + height - bar, std::max(0.5, place(of_.edges[i + 1]) - begin - gap), bar, blue});
    }
  }

  void value_axis() {
    const double floor = y_ + height;
    drawing_.axes.push_back({x_, floor, x_ + width, floor, ink, 1});
    const Ticks ticks(of_.edges.front(), of_.edges.back(), 7);
    for (const double each : ticks.at) {
      drawing_.axes.push_back({place(each), floor, place(each), floor + 5, ink, 1});
      text(place(each), floor + 19, 11, Drawing::Anchor::middle, grey, ticks.label(each));
    }
    text(x_ + width / 2, floor + 40, 11, Drawing::Anchor::middle, grey,
         shortened(printable(of_.dataset), 60) + "  (" + of_.dtype + ")");
  }

  Drawing& drawing_;
  double x_;
  double y_;
  const batch::DatasetStatistics& of_;
};

Drawing drawing_of(const std::vector<const batch::DatasetStatistics*>& panels) {
  const std::size_t across = panels.size() == 1 ? 1 : panels.size() <= 8 ? 2 : 4;
  const std::size_t down = (panels.size() + across - 1) / across;
  Drawing drawing;
  drawing.width = static_cast<double>(across) * panel_width;
  drawing.height = static_cast<double>(down) * panel_height;
  drawing.backgrounds.push_back({0, 0, drawing.width, drawing.height, paper});
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const std::size_t column = i % across;
    const std::size_t row = i / across;
    Panel(drawing, static_cast<double>(column) * panel_width, static_cast<double>(row) * panel_height, *panels[i])
        .draw();
  }
  return drawing;
}

// Written beside its place first: a full disk leaves what was there.
void write_file(const std::string& path, std::string_view bytes) {
  std::string temporary = path + ".XXXXXX";
  UniqueFd file(check_errno(::mkostemp(temporary.data(), O_CLOEXEC), "write", path));
  try {
    check_errno(::fchmod(file.get(), 0644), "write", path);
    while (!bytes.empty()) {
      const auto written =
          check_errno(retry_on_eintr([&] { return ::write(file.get(), bytes.data(), bytes.size()); }), "write", path);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    check_errno(::fsync(file.get()), "write", path);
    check_errno(::rename(temporary.c_str(), path.c_str()), "write", path);
  } catch (const Error&) {
    ::unlink(temporary.c_str());
    throw;
  }
}

bool is_svg(const std::string& path) { return path.ends_with(".svg"); }

}  // namespace

void check_plot_path(const std::string& path, const std::vector<std::string>& inputs) {
  if (!path.ends_with(".png") && !is_svg(path))
    throw UsageError("--plot '" + path + "': its name ends in .png or .svg");
  const auto parent = std::filesystem::path(path).parent_path();
  const std::string directory = parent.empty() ? "." : parent.string();
  if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    throw UsageError("--plot '" + path + "': " + std::strerror(errno));
  }
  for (const std::string& each : inputs) {
    std::error_code ignored;  // where either is not there, they are not the same
    if (std::filesystem::equivalent(each, path, ignored)) throw UsageError("--plot '" + path + "': it is an input");
  }
  if (!is_svg(path)) (void)cairo();  // where it is missing, that is said before the work
}

void write_plot(const std::string& path, const std::vector<batch::DatasetStatistics>& results) {
  std::vector<const batch::DatasetStatistics*> panels;
  for (const auto& each : results) {
    if (!each.counts.empty()) panels.push_back(&each);
  }
  if (panels.empty()) throw std::runtime_error("--plot '" + path + "': there is nothing to draw");
  if (panels.size() > most_panels) {
    throw std::runtime_error(
        fmt::format("--plot '{}': {} histograms are too many for one figure; name at most {} with -d", path,
                    panels.size(), most_panels));
  }
  const Drawing drawing = drawing_of(panels);
  write_file(path, is_svg(path) ? svg_of(drawing) : png_of(drawing));
}

}  // namespace runrig::cli
