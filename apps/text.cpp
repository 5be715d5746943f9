#include "text.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "runrig/channel/object.hpp"

namespace runrig::cli {

std::string size_text(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string json_number(double value) {
  if (std::isnan(value)) return "null";
  if (std::isinf(value)) return value > 0 ? "1e999" : "-1e999";
  return number_text(value);
}

std::string json_number(const Number& value) {
  if (const auto* real = std::get_if<double>(&value)) return json_number(*real);
  return number_text(value);
}

std::string complex_text(const std::string& real, const std::string& imaginary) {
  return real + (imaginary.starts_with('-') ? "" : "+") + imaginary + "j";
}

std::string json_shape(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ",")); }

std::string json_failures(const std::vector<batch::Failure>& failures) {
  std::string text = "[";
  for (const auto& each : failures) {
    if (text.size() > 1) text += ",";
    text += fmt::format(R"({{"file":{},"dataset":{},"error":{}}})", json_string(each.file),
                        each.dataset.empty() ? "null" : json_string(each.dataset), json_string(each.error));
  }
  return text + "]";
}

std::string printable(std::string_view text) {
  std::string result;
  const bool valid = pickle::is_text(text);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (!valid && byte >= 0x80)) {
      result += c == '\n' ? "\\n" : c == '\t' ? "\\t" : fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

namespace {

// Columns on the screen: continuation bytes of UTF-8 take none. Wide characters are not looked for.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::size_t>& right) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - columns(row[i]), ' ');
      const bool flush_right = std::find(right.begin(), right.end(), i) != right.end();
      line += (i > 0 ? "  " : "") + (flush_right ? padding + row[i] : row[i] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::size_t terminal_columns(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 80;
}

void print_failures(const std::vector<batch::Failure>& failures) {
  std::fflush(stdout);
  for (const auto& each : failures) {
    const std::string where = each.dataset.empty() ? each.file : each.file + ":" + each.dataset;
    fmt::print(stderr, "runrig: {}: {}\n", printable(where), printable(each.error));
  }
  if (failures.size() > 1) fmt::print(stderr, "runrig: {} inputs failed\n", failures.size());
}

}  // namespace runrig::cli
