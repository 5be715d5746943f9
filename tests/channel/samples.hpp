#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/channel/object.hpp"

/// What the pickle tests share: files of bytes, and objects to send through them.
namespace runrig::pickle::test_samples {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::vector<std::byte> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  return bytes_of(content);
}

inline void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// Random objects of every kind, nested, with shared and recursive parts. The same for the same seed.
class Generator {
 public:
  enum class Sizes : bool { all, small };  // small: nothing that only its length makes special
  explicit Generator(unsigned seed, int depth = 4, Sizes sizes = Sizes::all)
      : random_(seed), depth_(depth), large_(sizes == Sizes::all) {}
  Object operator()() { return any(depth_); }

 private:
  std::uint64_t below(std::uint64_t bound) {
    return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(random_);
  }

  Object any(int depth) {
    if (!earlier_.empty() && below(12) == 0) return earlier_[below(earlier_.size())];
    if (depth == 0 || below(3) == 0) return below(4) == 0 ? array() : scalar();
    const Object made = container(depth - 1);
    if (below(4) == 0) earlier_.push_back(made);
    if (earlier_.size() > 4) earlier_.erase(earlier_.begin());
    return made;
  }

  Object scalar() {
    switch (below(3)) {
      case 0:
        return Object::bytearray(bytes());
      case 1:
        return std::bit_cast<double>(random_() % 2 == 0 ? 0x7ff8000000000000ULL : random_() >> 2);
      default:
        return key(1);
    }
  }

  /// Hashable, and no NaN: Python takes each of those as a key of its own.
  Object key(int depth) {
    switch (below(depth > 0 ? 13 : 11)) {
      case 0:
        return {};
      case 1:
        return below(2) == 0;
      case 2:
        return static_cast<std::int64_t>(random_()) >> below(64);
      case 3:
        return BigInt::from_bytes(bytes(40));
      case 4:
        return static_cast<double>(static_cast<std::int64_t>(random_())) / 1024;
      case 5:
        return std::complex<double>(static_cast<double>(below(100)), -0.5);
      case 6:
      case 7:
        return text();
      case 8:
        return Object::bytes(bytes());
      case 9:
        return Object::numpy_scalar(buffer({}));
      case 10:
        return moment();
      case 11:
        return Object::tuple(keys(depth - 1));
      default:
        return Object::frozenset(keys(depth - 1));
    }
  }
  /// A value of datetime.
  Object moment() {
    const auto number = [this](int bound) { return static_cast<int>(below(static_cast<std::uint64_t>(bound))); };
    TimeZone zone{{0, number(86'400), below(4) == 0 ? number(1'000'000) : 0}, std::nullopt};
    if (below(3) == 0) zone.name = text();
    if (below(3) == 0) zone.offset = TimeDelta{-1, 1 + number(86'399), 0};
    const Date date{1 + number(9999), 1 + number(12), 1 + number(28)};
    Time time{number(24), number(60), number(60), number(1'000'000)};
    if (below(2) == 0) time.zone = zone;
    switch (below(5)) {
      case 0:
        return date;
      case 1:
        return time;
      case 2:
        return DateTime{date, time};
      case 3:
        return zone;
      default:
        return TimeDelta{number(1'999'999'999) - 999'999'999, number(86'400), number(1'000'000)};
    }
  }

  Object exception(int depth) {
    static constexpr std::string_view types[]{
        "ValueError", "KeyError",       "Exception", "BaseException",
        "queue.Full", "RecursionError", "Warning",   "threading.BrokenBarrierError"};
    std::vector<Object> arguments;
    for (std::uint64_t i = below(5); i > 0; --i) arguments.push_back(any(depth));
    if (below(4) != 0) return Object::exception(types[below(std::size(types))], std::move(arguments));
    Object attributes = Object::dict({{"note", any(depth)}});
    Object made = Object::exception(types[below(std::size(types))], std::move(arguments), attributes);
    if (below(4) == 0) attributes.insert_or_assign("itself", Object::back_reference(made));
    return made;
  }

  std::vector<Object> keys(int depth) {
    std::vector<Object> result;
    for (std::uint64_t i = below(6); i > 0; --i) result.push_back(key(depth));
    return result;
  }

  Object container(int depth) {
    const std::uint64_t count = large_ && below(300) == 0 ? 1500 : below(6);  // now and then more than one batch
    const int inner = count > 10 ? 0 : depth;
    std::vector<Object> items;
    switch (below(7)) {
      case 6:
        return exception(inner);
      case 0:
        return Object::set(keys(1));
      case 1:
      case 2: {
        Object dict = below(3) == 0 ? Object::ordered_dict() : Object::dict();
        for (std::uint64_t i = 0; i < count; ++i) dict.insert_or_assign(key(1), any(inner));
        if (below(8) == 0) dict.insert_or_assign("self", Object::back_reference(dict));
        return dict;
      }
      case 3:
        for (std::uint64_t i = 0; i < count; ++i) items.push_back(any(inner));
        return Object::tuple(std::move(items));
      default: {
        for (std::uint64_t i = 0; i < count; ++i) items.push_back(any(inner));
        Object list = Object::list(std::move(items));
        if (below(8) == 0) list.append(Object::back_reference(list));
        if (below(8) == 0) list.append(Object::tuple({1, Object::back_reference(list)}));
        return list;
      }
    }
  }

  Object array() {
    switch (below(3)) {
      case 0:
        return buffer({below(4)});
      case 1:
        return buffer({2 + below(3), 2 + below(3)});
      default:
        return buffer({2, 1 + below(2), 3});
    }
  }
  NdBuffer buffer(const Shape& shape) {
    static constexpr std::string_view dtypes[]{"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4",
                                               "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"};
    // All in the machine's order, which NumPy turns everything into. A NaN among the scalars would be a key again.
    const auto dtype = dtypes[shape.rank() == 0 ? below(9) : below(std::size(dtypes))];
    std::vector<std::byte> content(*shape.checked_bytes(*numpy_item_bytes(dtype)));
    for (std::byte& each : content) each = std::byte(dtype == "|b1" ? below(2) : below(256));
    // In one dimension an array is in both orders, and NumPy calls that C's.
    const Order order = shape.rank() == 2 && below(2) == 0 ? Order::fortran : Order::c;
    return {dtype, shape, order, std::move(content)};
  }

  std::vector<std::byte> bytes(std::size_t longest = 70'000) {
    std::vector<std::byte> result(large_ && below(200) == 0 ? longest : below(12));
    for (std::byte& each : result) each = std::byte(below(256));
    return result;
  }
  std::string text() {
    static constexpr std::string_view pieces[]{"a",
                                               "Z",
                                               "0",
                                               "\\",
                                               "\n",
                                               "\\u",
                                               "\xc3\xbc",
                                               "\xe2\x82\xac",
                                               "'",
                                               "\xf0\x9f\x98\x80",
                                               "\xed\xb2\x80",
                                               "\r",
                                               "\x1a",
                                               std::string_view("\0", 1)};
    std::string result;
    for (std::uint64_t i = large_ && below(20) == 0 ? 400 : below(8); i > 0; --i)
      result += pieces[below(std::size(pieces))];
    return result;
  }

  std::mt19937_64 random_;
  int depth_;
  bool large_;
  std::vector<Object> earlier_;  // to be mentioned again
};

}  // namespace runrig::pickle::test_samples
