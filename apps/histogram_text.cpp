#include <fmt/format.h>

#include <algorithm>

#include "histogram.hpp"

namespace runrig::cli {
namespace {

constexpr std::size_t least_bar = 10;

// `eighths` of a character: whole blocks and one that is filled from the left.
std::string bar_text(std::size_t eighths) {
  static constexpr const char* parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  std::string bar;
  for (std::size_t i = 0; i < eighths / 8; ++i) bar += "█";
  return bar + parts[eighths % 8];
}

}  // namespace

std::string histogram_text(const std::vector<double>& edges, const std::vector<std::uint64_t>& counts,
                           std::size_t columns) {
  std::vector<std::string> labels;
  std::size_t label_width = 0;
  for (const double each : edges) {
    labels.push_back(fmt::format("{:.7g}", each));
    label_width = std::max(label_width, labels.back().size());
  }
  const std::uint64_t most = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  const std::size_t count_width = std::to_string(most).size();
  // "  from .. to  count  bar"
  const std::size_t before = 2 + label_width + 4 + label_width + 2 + count_width + 2;
  const std::size_t width = std::max(least_bar, columns > before ? columns - before - 1 : 0);
  std::string text;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    auto eighths = static_cast<std::size_t>(
        most > 0 ? static_cast<double>(counts[i]) / static_cast<double>(most) * static_cast<double>(width * 8) : 0);
    if (counts[i] > 0) eighths = std::max<std::size_t>(eighths, 1);  // few is not none
    const std::string line = fmt::format("  {:>{}} .. {:>{}}  {:>{}}  {}", labels[i], label_width, labels[i + 1],
                                         label_width, counts[i], count_width, bar_text(eighths));
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace runrig::cli
