#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <ostream>

#include "format.hpp"
#include "transfer.hpp"

namespace runrig::bench {
namespace {

/// With three significant digits, but no more than one decimal for what is large.
std::string three_digits(double value) {
  return value >= 100  ? fmt::format("{:.0f}", value)
         : value >= 10 ? fmt::format("{:.1f}", value)
                       : fmt::format("{:.2f}", value);
}

std::size_t column_width(std::string_view text) noexcept {
  // Bytes that continue a UTF-8 character take no column.
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char each) { return (static_cast<unsigned char>(each) & 0xC0U) != 0x80U; }));
}

std::string pad_left(const std::string& text, std::size_t width) {
  const std::size_t used = column_width(text);
  return std::string(width > used ? width - used : 0, ' ') + text;
}

std::string cell(const TransferResult& result) {
  std::string seconds = format_seconds(result.median_seconds);
  if (result.route == Route::mapped || result.ratio_to_mapped <= 0) return seconds;
  return seconds + pad_left(format_ratio(result.ratio_to_mapped), 7);
}

}  // namespace

std::string format_size(std::size_t bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  const bool whole = value == static_cast<double>(static_cast<std::size_t>(value));
  return whole ? fmt::format("{:.0f} {}", value, units[unit]) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string format_seconds(double seconds) {
  if (seconds < 1e-3) return three_digits(seconds * 1e6) + " µs";
  if (seconds < 1) return three_digits(seconds * 1e3) + " ms";
  return three_digits(seconds) + " s";
}

std::string format_ratio(double ratio) {
  return (ratio < 10 ? fmt::format("{:.1f}", ratio) : fmt::format("{:.0f}", ratio)) + "x";
}

void print_table(std::ostream& out, const TransferReport& report) {
  constexpr std::size_t width = 18;
  out << "A float64 array to a worker, its sum back: median time, and how many times the mapped case.\n"
      << report.machine << "\n\n";
  std::string heading = fmt::format("{:>8}", "array");
  for (std::size_t i = 0; i < route_count; ++i) heading += pad_left(std::string(route_title(Route(i))), width + 1);
  out << heading << '\n';
  for (auto row = report.results.begin(); row != report.results.end();) {
    const std::size_t size_bytes = row->size_bytes;
    std::array<std::string, route_count> cells;
    cells.fill("-");
    for (; row != report.results.end() && row->size_bytes == size_bytes; ++row) {
      cells[static_cast<std::size_t>(row->route)] = cell(*row);
    }
    out << fmt::format("{:>8}", format_size(size_bytes));
    for (const std::string& each : cells) out << ' ' << pad_left(each, width);
    out << '\n';
  }
  for (const std::string& note : report.notes) out << "note: " << note << '\n';
}

std::string to_json(const TransferReport& report) {
  nlohmann::ordered_json document;
  document["machine"] = report.machine;
  document["results"] = nlohmann::ordered_json::array();
  for (const TransferResult& each : report.results) {
    nlohmann::ordered_json result;
    result["route"] = route_name(each.route);
    result["size_bytes"] = each.size_bytes;
    result["turns"] = each.turns;
    result["median_seconds"] = each.median_seconds;
    result["fastest_seconds"] = each.fastest_seconds;
    // Without the mapped case there is nothing to compare with.
    result["ratio_to_mapped"] = each.ratio_to_mapped > 0 ? nlohmann::ordered_json(each.ratio_to_mapped) : nullptr;
    document["results"].push_back(std::move(result));
  }
  document["notes"] = report.notes;
  // Notes quote paths, which may be anything.
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace runrig::bench
