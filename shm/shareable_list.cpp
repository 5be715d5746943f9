#include "runrig/shm/shareable_list.hpp"

#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "shareable_list_layout.hpp"

namespace runrig {
namespace {

using Item = ShareableList::Item;

// Exact, as in Python: no integer is rounded to compare it.
bool equal_numbers(std::int64_t whole, double real) noexcept {
  constexpr double limit = 9223372036854775808.0;  // 2^63
  return real >= -limit && real < limit && std::trunc(real) == real && static_cast<std::int64_t>(real) == whole;
}
bool equal_numbers(double real, std::int64_t whole) noexcept { return equal_numbers(whole, real); }
bool equal_numbers(std::int64_t one, std::int64_t other) noexcept { return one == other; }
bool equal_numbers(double one, double other) noexcept { return one == other; }

std::int64_t as_number(bool value) noexcept { return value ? 1 : 0; }
std::int64_t as_number(std::int64_t value) noexcept { return value; }
double as_number(double value) noexcept { return value; }

template <class T>
constexpr bool is_number = std::is_same_v<T, bool> || std::is_same_v<T, std::int64_t> || std::is_same_v<T, double>;

}  // namespace

bool equal_items(const Item& one, const Item& other) {
  return std::visit(
      [](const auto& left, const auto& right) {
        using Left = std::decay_t<decltype(left)>;
        using Right = std::decay_t<decltype(right)>;
        if constexpr (is_number<Left> && is_number<Right>) {
          return equal_numbers(as_number(left), as_number(right));
        } else if constexpr (std::is_same_v<Left, Right>) {
          return left == right;
        } else {
          return false;
        }
      },
      one, other);
}

ShareableList ShareableList::make(std::span<const Item> items, const detail::MakeSegment& make_segment) {
  const auto fill = [&](std::span<std::byte> segment) { detail::fill_list(segment, items); };
  return ShareableList(make_segment(detail::list_bytes(items), fill));
}

ShareableList ShareableList::create(std::span<const Item> items) {
  return make(items, [](std::size_t size_bytes, const auto& fill) { return SharedMemory::create(size_bytes, fill); });
}

ShareableList ShareableList::create(std::initializer_list<Item> items) {
  return create(std::span(items.begin(), items.size()));
}

ShareableList ShareableList::create(std::string_view name, std::span<const Item> items) {
  return make(items,
              [&](std::size_t size_bytes, const auto& fill) { return SharedMemory::create(name, size_bytes, fill); });
}

ShareableList ShareableList::create(std::string_view name, std::initializer_list<Item> items) {
  return create(name, std::span(items.begin(), items.size()));
}

ShareableList ShareableList::attach(std::string_view name, Access access) {
  return ShareableList(SharedMemory::attach(name, access));
}

ShareableList ShareableList::attach(const SegmentHandle& handle, Access access) {
  return ShareableList(SharedMemory::attach(handle, access));
}

ShareableList::ShareableList(SharedMemory memory)
    : memory_(std::move(memory)), offsets_(detail::read_list_offsets(memory_.bytes(), memory_.name())) {}

std::size_t ShareableList::position(std::ptrdiff_t index) const {
  const auto items = static_cast<std::ptrdiff_t>(size());
  const std::ptrdiff_t at = index < 0 ? index + items : index;
  if (at < 0 || at >= items) {
    throw std::out_of_range("index " + std::to_string(index) + " of a ShareableList of " + std::to_string(items) +
                            " items");
  }
  return static_cast<std::size_t>(at);
}

Item ShareableList::get(std::ptrdiff_t index) const {
  const auto slot = detail::list_slot(offsets_, position(index));
  return detail::read_list_item(memory_.bytes(), slot, memory_.name());
}

void ShareableList::set(std::ptrdiff_t index, const Item& item) const {
  const auto slot = detail::list_slot(offsets_, position(index));
  detail::write_list_item(memory_.writable_bytes(), slot, item);
}

std::size_t ShareableList::capacity(std::ptrdiff_t index) const {
  return detail::list_slot(offsets_, position(index)).data_bytes;
}

std::vector<Item> ShareableList::to_vector() const {
  std::vector<Item> items;
  items.reserve(size());
  for (auto item : *this) items.push_back(std::move(item));
  return items;
}

std::size_t ShareableList::count(const Item& item) const {
  std::size_t found = 0;
  for (const auto& each : *this) found += equal_items(each, item) ? 1 : 0;
  return found;
}

std::optional<std::size_t> ShareableList::find(const Item& item) const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (equal_items(get(static_cast<std::ptrdiff_t>(i)), item)) return i;
  }
  return std::nullopt;
}

std::size_t ShareableList::index(const Item& item) const {
  if (const auto found = find(item)) return *found;
  throw std::invalid_argument("index(): no such item in ShareableList '" + name() + "'");
}

std::string ShareableList::format() const {
  std::string format;
  for (std::size_t i = 0; i < size(); ++i) {
    format += detail::read_list_format(memory_.bytes(), detail::list_slot(offsets_, i), memory_.name());
  }
  return format;
}

}  // namespace runrig
