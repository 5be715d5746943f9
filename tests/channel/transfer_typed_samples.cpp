#include "transfer_typed_samples.hpp"

#include <chrono>
#include <complex>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "support.hpp"
#include "transfer_samples.hpp"

namespace runrig::pickle::test_samples {
namespace {

template <class T>
TypedSample sample(std::string python, T value) {
  TypedSample made{.python = std::move(python)};
  encode(made.encoded, value);
  made.encode_in = [value](int protocol) {
    std::vector<std::byte> bytes;
    encode(bytes, value, {.protocol = protocol});
    return bytes;
  };
  made.expect_decoded = [value](std::span<const std::byte> bytes, const std::string& what) {
    Received<T> decoded = decode<T>(bytes);
    EXPECT_EQ(decoded, value) << what;
  };
  made.encode_again = [](std::span<const std::byte> bytes, const Limits& limits) {
    std::vector<std::byte> again;
    encode(again, decode<T>(bytes, limits));
    return again;
  };
  return made;
}

}  // namespace

std::vector<TypedSample> typed_samples() {
  using namespace std::string_literals;
  using Nested = std::optional<std::optional<int>>;
  using Choice = std::variant<std::monostate, int, std::string, std::vector<int>>;
  std::vector<TypedSample> all;
  const auto add = [&all](std::string python, auto value) {
    all.push_back(sample(std::move(python), std::move(value)));
  };
  for (int bit = 0; bit < 63; bit += 7) {
    add("2**" + std::to_string(bit), std::int64_t{1} << bit);
    add("-2**" + std::to_string(bit) + " - 1", -(std::int64_t{1} << bit) - 1);
  }
  add("2**64 - 1", std::numeric_limits<std::uint64_t>::max());
  add("-2**63", std::numeric_limits<std::int64_t>::min());
  add("255", std::uint8_t{255});
  add("-128", std::int8_t{-128});
  add("True", true);
  add("False", false);
  add("0.1", 0.1);
  add("-0.0", -0.0);
  add("0.5", 0.5F);
  add("b'x'", 'x');
  add("2", Colour::blue);
  add("complex(1.5, -0.5)", std::complex<double>(1.5, -0.5));
  add("None", std::monostate{});
  add("None", nullptr);
  add("1500", std::chrono::milliseconds(1500));
  add("10**30", *BigInt::from_decimal("1" + std::string(30, '0')));
  add("10**1000", *BigInt::from_decimal("1" + std::string(1000, '0')));
  add("''", ""s);
  add("'x' * 300", std::string(300, 'x'));
  add("'x' * 100000", std::string(100'000, 'x'));
  add("'\\xfc\\u20ac\\U0001f600'", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"s);
  add("os.fsdecode(b'a\\xff\\xfe')", "a\xff\xfe"s);
  add("os.fsdecode(b'/tmp/\\xff')", std::filesystem::path("/tmp/\xff"));
  add("[]", std::vector<int>{});
  add("[7]", std::vector<int>{7});
  add("[1, -2, 300, 70000]", std::vector<int>{1, -2, 300, 70'000});
  add("list(range(2500))", [] {
    std::vector<std::int64_t> numbers(2500);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
  }());
  add("[True, False]", std::vector<bool>{true, false});
  add("[['a'], [], ['b', 'c']]", std::vector<std::vector<std::string>>{{"a"}, {}, {"b", "c"}});
  add("bytes(range(256)) * 300", counted_bytes(256 * 300));
  add("b''", std::vector<unsigned char>{});
  add("(1, 2, 3)", std::array<int, 3>{1, 2, 3});
  add("()", std::tuple<>{});
  add("(1,)", std::tuple<int>{1});
  add("(1, 'x', (2.5, True), 4, 5)", std::tuple(1, "x"s, std::pair(2.5, true), 4, 5));
  add("{'a': [1], 'b': []}", std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}});
  add("{i: str(i) for i in range(1500)}", [] {
    std::unordered_map<int, std::string> map;
    for (int i = 0; i < 1500; ++i) map[i] = std::to_string(i);
    return map;
  }());
  add("{(1, 'x'): 0}", std::map<std::pair<int, std::string>, Colour>{{{1, "x"}, Colour::red}});
  add("{'x', 'y'}", std::set<std::string>{"x", "y"});
  add("set()", std::unordered_set<int>{});
  add("None", std::optional<int>{});
  add("5", std::optional<int>{5});
  add("None", Nested{});
  add("[None]", Nested{std::optional<int>{}});
  add("[5]", Nested{std::optional<int>{5}});
  add("(0, None)", Choice{});
  add("(2, 'x')", Choice{"x"s});
  add("(3, [1, 2])", Choice{std::vector{1, 2}});
  add("()", Nothing{});
  add("(1.5, -2.0)", Point{1.5, -2});
  add("((0.0, 1.0), (2.0, 3.0), 'edge')", Line{{0, 1}, {2, 3}, "edge"});
  add("(7, 'seven', b'abc\\0', ((1, 2), (3, 4)), ((1.0, 2.0),))",
      Record{.id = 7, .name = "seven", .label = "abc", .matrix = {{1, 2}, {3, 4}}, .more = {{{1, 2}}}});
  add("tuple([0] * 31 + [32])", Wide{.last = 32});
  add("bytes([8, 7, 6, 5, 4, 3, 2, 1])", Opaque(0x0102030405060708));
  add("(1, 3)", Fraction::of(1, 3));
  add("([1, 'x'], [{2: None}])",
      std::pair(Object::list({1, "x"}), std::optional<Object>(Object::dict({{2, Object()}}))));
  return all;
}

}  // namespace runrig::pickle::test_samples
