#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string>

#include "format.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "transfer.hpp"

namespace runrig::bench {
namespace {

// Pixels.
constexpr double width = 860, height = 560;
constexpr double left = 90, right = 30, top = 100, bottom = 70;

constexpr std::array<const char*, route_count> colours{"#b2182b", "#e08214", "#2166ac", "#1b7837"};

std::string escape(std::string_view text) {
  std::string result;
  for (const char each : text) {
    switch (each) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        // Control characters are not allowed in XML, not even escaped.
        result += static_cast<unsigned char>(each) < 0x20 ? ' ' : each;
    }
  }
  return result;
}

std::string text(double x, double y, std::string_view anchor, std::string_view content, std::string_view extra = {}) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, extra,
                     escape(content));
}

std::string line(double x1, double y1, double x2, double y2, std::string_view colour) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2, y2,
                     colour);
}

/// Maps sizes and seconds, both logarithmic, to the plane.
class Axes {
 public:
  explicit Axes(const std::vector<TransferResult>& results) {
    double least_seconds = 1e-6, most_seconds = 1e-5;
    if (!results.empty()) {
      const auto by_size = [](const auto& a, const auto& b) { return a.size_bytes < b.size_bytes; };
      const auto by_time = [](const auto& a, const auto& b) { return a.median_seconds < b.median_seconds; };
      const auto sizes = std::ranges::minmax_element(results, by_size);
      const auto times = std::ranges::minmax_element(results, by_time);
      first_size_ = std::log2(static_cast<double>(sizes.min->size_bytes));
      last_size_ = std::log2(static_cast<double>(sizes.max->size_bytes));
      least_seconds = times.min->median_seconds;
      most_seconds = times.max->median_seconds;
    }
    if (last_size_ - first_size_ < 1) last_size_ = first_size_ + 1;
    // Whole decades, and always one to show.
    least_decade_ = std::floor(std::log10(least_seconds));
    most_decade_ = std::max(std::ceil(std::log10(most_seconds)), least_decade_ + 1);
  }
  [[nodiscard]] double x(std::size_t size_bytes) const {
    constexpr double margin = 45;  // room for the first and the last label
    const double part = (std::log2(static_cast<double>(size_bytes)) - first_size_) / (last_size_ - first_size_);
    return left + margin + part * (width - left - right - 2 * margin);
  }
  [[nodiscard]] double y(double seconds) const {
    const double part = (std::log10(seconds) - least_decade_) / (most_decade_ - least_decade_);
    return height - bottom - part * (height - top - bottom);
  }
  [[nodiscard]] int least_decade() const { return static_cast<int>(least_decade_); }
  [[nodiscard]] int most_decade() const { return static_cast<int>(most_decade_); }

 private:
  double first_size_ = 13, last_size_ = 14;
  double least_decade_ = -6, most_decade_ = -5;
};

std::string grid(const Axes& axes, const std::vector<TransferResult>& results) {
  std::string svg;
  for (int decade = axes.least_decade(); decade <= axes.most_decade(); ++decade) {
    const double seconds = std::pow(10.0, decade);
    const double y = axes.y(seconds);
    svg += line(left, y, width - right, y, "#cccccc");
    const double shown = decade < -3 ? seconds * 1e6 : decade < 0 ? seconds * 1e3 : seconds;
    const char* const unit = decade < -3 ? "µs" : decade < 0 ? "ms" : "s";
    svg += text(left - 8, y + 4, "end", fmt::format("{:g} {}", std::round(shown * 1e6) / 1e6, unit));
  }
  std::size_t last = 0;
  for (const TransferResult& each : results) {
    if (each.size_bytes == last) continue;
    last = each.size_bytes;
    svg += line(axes.x(last), top, axes.x(last), height - bottom, "#eeeeee");
    svg += text(axes.x(last), height - bottom + 22, "middle", format_size(last));
  }
  svg += text((left + width - right) / 2, height - 18, "middle", "size of the array");
  return svg;
}

/// One line with its points; each point but those of the mapped case is labelled with its ratio.
std::string curve(const Axes& axes, const std::vector<TransferResult>& results, Route route) {
  const char* const colour = colours[static_cast<std::size_t>(route)];
  std::string points, marks;
  for (const TransferResult& each : results) {
    if (each.route != route) continue;
    const double x = axes.x(each.size_bytes);
    const double y = axes.y(each.median_seconds);
    points += fmt::format("{:.1f},{:.1f} ", x, y);
    marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"><title>{}, {}: {}</title></circle>\n",
                         x, y, colour, escape(route_title(route)), format_size(each.size_bytes),
                         format_seconds(each.median_seconds));
    if (route != Route::mapped && each.ratio_to_mapped > 0) {
      // Left of and above the line, which rises; only the attach case, the nearest to the mapped one, goes right.
      const bool below = route == Route::attach;
      marks += text(x + (below ? 8 : -8), y + (below ? 12 : -6), below ? "start" : "end",
                    format_ratio(each.ratio_to_mapped), fmt::format(R"( fill="{}" font-weight="bold")", colour));
    }
  }
  if (points.empty()) return {};
  points.pop_back();
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", points, colour) +
         marks;
}

std::string legend() {
  std::string svg;
  for (std::size_t i = 0; i < route_count; ++i) {
    const double x = left + static_cast<double>(i) * 185;
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"74\" width=\"14\" height=\"14\" fill=\"{}\"/>\n", x, colours[i]);
    svg += text(x + 20, 86, "start", route_title(Route(i)));
  }
  return svg;
}

/// Removes an unfinished file.
class Unfinished {
 public:
  explicit Unfinished(std::string path) : path_(std::move(path)) {}
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void finished() noexcept { path_.clear(); }

 private:
  std::string path_;
};

}  // namespace

std::string to_svg(const TransferReport& report) {
  const Axes axes(report.results);
  std::string svg = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
      width, height);
  svg += text(left, 26, "start", "A float64 array to a worker, its sum back", " font-size=\"18\"");
  svg += text(left, 46, "start", report.machine);
  svg += text(left, 64, "start", "Time from request to sum, median; labels are multiples of the mapped case.");
  svg += legend();
  svg += grid(axes, report.results);
  for (std::size_t i = 0; i < route_count; ++i) svg += curve(axes, report.results, Route(i));
  return svg + "</svg>\n";
}

void write_svg(const std::filesystem::path& path, const TransferReport& report) {
  const std::string svg = to_svg(report);
  std::string temporary = path.string() + ".XXXXXX";
  const UniqueFd file(check_errno(::mkostemp(temporary.data(), O_CLOEXEC), "create", path.string()));
  Unfinished guard(temporary);
  for (std::string_view rest = svg; !rest.empty();) {
    const auto written = check_errno(retry_on_eintr([&] { return ::write(file.get(), rest.data(), rest.size()); }),
                                     "write", path.string());
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  constexpr mode_t readable = 0644;  // mkostemp makes 0600, which would be odd for a picture
  check_errno(::fchmod(file.get(), readable), "write", path.string());
  check_errno(::rename(temporary.c_str(), path.c_str()), "write", path.string());
  guard.finished();
}

}  // namespace runrig::bench
