#include "runrig/hdf5/selection.hpp"

#include <charconv>
#include <limits>

#include "runrig/sync/error.hpp"

namespace runrig::hdf5 {
namespace {

constexpr std::uint64_t max_extent = std::numeric_limits<std::int64_t>::max();

/// Reads a selection from left to right; knows where it is, for the messages.
class SelectionParser {
 public:
  explicit SelectionParser(std::string_view text) : text_(text) {}

  SelectionSpec parse() {
    SelectionSpec spec;
    spec.text = text_;
    skip_spaces();
    expect('[', "a selection begins with \"[\"");
    skip_spaces();
    bool ellipsis = false;
    while (true) {
      const std::size_t column = at_;
      const AxisSpec axis = parse_axis();
      if (axis.kind == AxisSpec::Kind::ellipsis) {
        if (ellipsis) fail("only one \"...\" is possible", column);
        ellipsis = true;
      }
      spec.axes.push_back(axis);
      if (spec.axes.size() > max_rank + 1) fail("more than " + std::to_string(max_rank) + " axes");
      skip_spaces();
      if (next() == ']') break;
      expect(',', R"("," or "]" expected)");
      skip_spaces();
      if (next() == ']') break;  // a trailing comma, as in Python
    }
    ++at_;
    skip_spaces();
    if (at_ < text_.size()) fail("nothing may follow the \"]\"");
    return spec;
  }

 private:
  [[nodiscard]] char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_spaces() {
    while (next() == ' ' || next() == '\t') ++at_;
  }
  [[noreturn]] void fail(const std::string& why, std::optional<std::size_t> at = {}) const {
    throw FormatError("use the selection", text_, why + " (column " + std::to_string(at.value_or(at_) + 1) + ")");
  }
  void expect(char c, const std::string& why) {
    if (next() != c) fail(at_ == text_.size() ? why + ", but it ends" : why);
    ++at_;
  }

  AxisSpec parse_axis() {
    AxisSpec axis;
    if (text_.substr(at_).starts_with("...")) {
      axis.kind = AxisSpec::Kind::ellipsis;
      at_ += 3;
      return axis;
    }
    const auto first = parse_number();
    skip_spaces();
    if (next() != ':') {
      if (!first)
        fail(next() == '[' ? "lists of indices are not possible, only slices" : "a slice or an integer expected");
      axis.kind = AxisSpec::Kind::index;
      axis.index = *first;
      return axis;
    }
    axis.start = first;
    ++at_;
    skip_spaces();
    axis.stop = parse_number();
    skip_spaces();
    if (next() != ':') return axis;
    ++at_;
    skip_spaces();
    const std::size_t column = at_;
    axis.step = parse_number();
    if (axis.step == 0) fail("a slice's step is not 0", column);
    return axis;
  }

  std::optional<std::int64_t> parse_number() {
    const std::size_t begin = at_;
    if (next() == '+' || next() == '-') ++at_;
    const std::size_t digits = at_;
    while (next() >= '0' && next() <= '9') ++at_;
    if (at_ == begin) return {};
    if (at_ == digits) fail("digits expected");
    const std::string_view text = text_.substr(next_digit(begin), at_ - next_digit(begin));
    std::int64_t value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) {
      fail("a number past 64 bits", begin);
    }
    return value;
  }
  /// from_chars knows "-", but no "+".
  [[nodiscard]] std::size_t next_digit(std::size_t begin) const { return text_[begin] == '+' ? begin + 1 : begin; }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// Python's slice.indices(): where a slice of `extent` elements begins, and how many it has.
AxisSelection resolve_slice(const AxisSpec& spec, std::int64_t extent) {
  const std::int64_t step = spec.step.value_or(1);
  const std::int64_t lowest = step > 0 ? 0 : -1;
  const std::int64_t highest = step > 0 ? extent : extent - 1;
  const auto clip = [&](std::int64_t value) {
    if (value < 0) value += extent;  // cannot overflow: extent is not negative
    return std::min(std::max(value, lowest), highest);
  };
  const std::int64_t start = spec.start ? clip(*spec.start) : (step > 0 ? lowest : highest);
  const std::int64_t stop = spec.stop ? clip(*spec.stop) : (step > 0 ? highest : lowest);
  const std::int64_t distance = step > 0 ? stop - start : start - stop;
  AxisSelection axis;
  axis.step = step;
  if (distance <= 0) return axis;
  // The magnitude by unsigned negation: -step would overflow for the smallest number.
  const std::uint64_t stride = step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  axis.start = static_cast<std::uint64_t>(start);
  axis.count = (static_cast<std::uint64_t>(distance) - 1) / stride + 1;
  return axis;
}

std::string bad_index(std::int64_t index, std::size_t axis, std::int64_t extent) {
  std::string text = "index " + std::to_string(index) + " is out of range for axis " + std::to_string(axis) +
                     ", which has " + std::to_string(extent) + " elements";
  return text;
}

void check_extents(const Shape& dataset, std::string_view name) {
  for (const std::uint64_t extent : dataset) {
    if (extent > max_extent) throw Error(std::errc::value_too_large, "select from shape " + to_string(dataset), name);
  }
}

void add_axis(Selection& selection, const AxisSelection& axis) {
  selection.axes[selection.rank++] = axis;
  if (axis.keep) selection.shape.push_back(axis.count);
}

}  // namespace

SelectionSpec parse_selection(std::string_view text) { return SelectionParser(text).parse(); }

Selection Selection::all(const Shape& dataset) {
  check_extents(dataset, "dataset");
  Selection selection;
  for (const std::uint64_t extent : dataset) add_axis(selection, {0, 1, extent, true});
  return selection;
}

Selection resolve(const SelectionSpec& spec, const Shape& dataset, std::string_view name) {
  check_extents(dataset, name);
  bool ellipsis = false;
  for (const AxisSpec& axis : spec.axes) ellipsis = ellipsis || axis.kind == AxisSpec::Kind::ellipsis;
  const std::size_t given = spec.axes.size() - (ellipsis ? 1 : 0);
  const auto refuse = [&](const std::string& why) { throw FormatError("select " + spec.text + " of", name, why); };
  if (given > dataset.rank()) {
    refuse(std::to_string(given) + " axes are selected, the dataset has " + std::to_string(dataset.rank()) +
           (dataset.rank() == 0 ? std::string(" (a scalar)") : ", its shape is " + to_string(dataset)));
  }
  const std::size_t skipped = dataset.rank() - given;  // axes that the ellipsis, or the end, stands for
  Selection selection;
  const auto take_all = [&](std::size_t count) {
    for (; count > 0; --count) add_axis(selection, {0, 1, dataset[selection.rank], true});
  };
  for (const AxisSpec& axis : spec.axes) {
    if (axis.kind == AxisSpec::Kind::ellipsis) {
      take_all(skipped);
      continue;
    }
    const auto extent = static_cast<std::int64_t>(dataset[selection.rank]);
    if (axis.kind == AxisSpec::Kind::slice) {
      add_axis(selection, resolve_slice(axis, extent));
      continue;
    }
    if (axis.index >= extent || axis.index < -extent) refuse(bad_index(axis.index, selection.rank, extent));
    const std::int64_t index = axis.index < 0 ? axis.index + extent : axis.index;
    add_axis(selection, {static_cast<std::uint64_t>(index), 1, 1, false});
  }
  if (!ellipsis) take_all(skipped);
  return selection;
}

Selection resolve(const std::optional<SelectionSpec>& spec, const Shape& dataset, std::string_view name) {
  if (spec) return resolve(*spec, dataset, name);
  check_extents(dataset, name);
  return Selection::all(dataset);
}

Box Box::all(const Shape& shape) {
  Box box{shape, shape};
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) box.start[axis] = 0;
  return box;
}

}  // namespace runrig::hdf5
