#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runrig/shm/shared_memory.hpp"

namespace runrig {

/// A list of fixed length in a named segment, with the very bytes of Python's
/// multiprocessing.shared_memory.ShareableList: `ShareableList(name=...)` there opens what is made here, and attach()
/// here what is made there.
///
/// An item is None (std::monostate), a bool, a 64-bit integer, a double, a str (std::string, valid UTF-8) or bytes.
/// Each has a place of fixed size, laid out at creation: 8 bytes for numbers and None, for a text or bytes of n bytes
/// the next multiple of 8 above n. Any item may be replaced by one of another type, as long as it fits.
///
/// Where Python's own list is wrong, this one is not: it makes room for the UTF-8 bytes of a text, where Python counts
/// characters and cuts the rest; and it keeps NULs at the end of a text or bytes, which Python takes for padding (they
/// are noted in the item's format, which Python reads, but does not heed). What Python wrote is read as Python reads
/// it.
///
/// Access is not synchronised, as in Python: with several writers, or a reader beside a writer, hold a Lock. All that
/// is read from the segment is checked, each time, so whatever others write there leads to an error at worst.
/// Move-only; one object must not be moved or closed while another thread uses it.
class ShareableList {
 public:
  using Bytes = std::vector<std::byte>;
  using Item = std::variant<std::monostate, bool, std::int64_t, double, std::string, Bytes>;

  /// A list of these items, in a new segment with a random name, or with that name. Throws Error as
  /// SharedMemory::create(), std::invalid_argument for a text that is not UTF-8, std::length_error for a text or bytes
  /// too long for the layout: 9,999,991 bytes, or 99,999 if it ends with a NUL.
  [[nodiscard]] static ShareableList create(std::span<const Item> items);
  [[nodiscard]] static ShareableList create(std::initializer_list<Item> items);
  [[nodiscard]] static ShareableList create(std::string_view name, std::span<const Item> items);
  [[nodiscard]] static ShareableList create(std::string_view name, std::initializer_list<Item> items);
  /// A list that is there, whoever made it. Throws Error as SharedMemory::attach(), FormatError if it is none.
  [[nodiscard]] static ShareableList attach(std::string_view name, Access access = Access::read_write);
  [[nodiscard]] static ShareableList attach(const SegmentHandle& handle, Access access = Access::read_write);

  [[nodiscard]] std::size_t size() const noexcept { return offsets_.empty() ? 0 : offsets_.size() - 1; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// The item at `index`; negative counts from the end. Throws std::out_of_range, FormatError if what lies there is no
  /// item (or a writer is at work), std::logic_error after close().
  [[nodiscard]] Item get(std::ptrdiff_t index) const;
  /// The same, of a known type. Throws std::bad_variant_access if it has another.
  template <class T>
  [[nodiscard]] T get(std::ptrdiff_t index) const {
    return std::get<T>(get(index));
  }
  /// Replaces an item. Throws std::out_of_range; std::length_error if it needs more bytes than capacity(index);
  /// std::invalid_argument for a text that is not UTF-8; std::logic_error if attached read_only. A process killed in
  /// the middle leaves an item that is the old, the new, a mixture of both, or refused by get().
  void set(std::ptrdiff_t index, const Item& item) const;
  /// How many bytes the place of the item has. Throws std::out_of_range.
  [[nodiscard]] std::size_t capacity(std::ptrdiff_t index) const;

  /// `list[2]` reads and `list[2] = "dry ice"` writes, as in Python. Valid while the list is.
  class Reference {
   public:
    operator Item() const { return list_->get(index_); }  // NOLINT(google-explicit-constructor): stands for the item
    const Reference& operator=(const Item& item) const {  // NOLINT(misc-unconventional-assign-operator)
      list_->set(index_, item);
      return *this;
    }
    friend bool operator==(const Reference& reference, const Item& item) { return Item(reference) == item; }

   private:
    friend class ShareableList;
    Reference(const ShareableList* list, std::ptrdiff_t index) noexcept : list_(list), index_(index) {}
    const ShareableList* list_;
    std::ptrdiff_t index_;
  };
  [[nodiscard]] Reference operator[](std::ptrdiff_t index) const noexcept { return {this, index}; }

  /// Goes through copies of the items.
  class Iterator {
   public:
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    Iterator() = default;
    [[nodiscard]] Item operator*() const { return list_->get(index_); }
    Iterator& operator++() noexcept {
      ++index_;
      return *this;
    }
    Iterator operator++(int) noexcept { return {list_, index_++}; }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    friend class ShareableList;
    Iterator(const ShareableList* list, std::ptrdiff_t index) noexcept : list_(list), index_(index) {}
    const ShareableList* list_ = nullptr;
    std::ptrdiff_t index_ = 0;
  };
  [[nodiscard]] Iterator begin() const noexcept { return {this, 0}; }
  [[nodiscard]] Iterator end() const noexcept { return {this, static_cast<std::ptrdiff_t>(size())}; }
  [[nodiscard]] std::vector<Item> to_vector() const;

  /// How many items equal `item`, with Python's idea of equality: 1, 1.0 and True are equal, "a" and b"a" are not.
  [[nodiscard]] std::size_t count(const Item& item) const;
  /// Where the first such item is; find() returns none, and index() throws std::invalid_argument, if there is none.
  [[nodiscard]] std::optional<std::size_t> find(const Item& item) const;
  [[nodiscard]] std::size_t index(const Item& item) const;

  /// The struct packing format of all items, as Python's `format`: "q8sd".
  [[nodiscard]] std::string format() const;

  /// The segment with the values; unlink() and close() it through these.
  [[nodiscard]] const SharedMemory& shm() const noexcept { return memory_; }
  [[nodiscard]] const std::string& name() const noexcept { return memory_.name(); }
  void unlink() { memory_.unlink(); }
  void persist() { memory_.persist(); }
  void close() noexcept { memory_.close(); }
  /// Another process attaches this while this object is open or the name is there.
  [[nodiscard]] SegmentHandle handle() const { return memory_.handle(); }

 private:
  friend class SharedMemoryManager;
  static ShareableList make(std::span<const Item> items, const detail::MakeSegment& make_segment);
  explicit ShareableList(SharedMemory memory);
  [[nodiscard]] std::size_t position(std::ptrdiff_t index) const;

  SharedMemory memory_;
  // Checked; read once, so that nobody can change them under our feet. Empty when moved from.
  std::vector<std::uint64_t> offsets_;
};

/// Python's `==` between items.
[[nodiscard]] bool equal_items(const ShareableList::Item& one, const ShareableList::Item& other);

}  // namespace runrig
