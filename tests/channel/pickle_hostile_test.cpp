#include <sys/resource.h>

#include <random>

#include "runrig/channel/pickle.hpp"
#include "runrig/sync/clock.hpp"
#include "samples.hpp"
#include "support.hpp"

// Streams that nobody honest writes: each is an error, soon, and at little cost.
namespace runrig::pickle {
namespace {

using test_samples::bytes_of;
using namespace std::string_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_is_ours = false;  // the sanitizer's own would be measured
#else
constexpr bool memory_is_ours = true;
#endif

std::string little_endian(std::uint64_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i, value >>= 8) text.push_back(static_cast<char>(value & 0xFF));
  return text;
}

std::string repeat(std::string_view text, std::size_t times) {
  std::string result;
  for (std::size_t i = 0; i < times; ++i) result += text;
  return result;
}

/// The whole of the error; fails the test if there is none, or one of another kind.
std::string refusal(const std::string& stream) {
  try {
    (void)loads(bytes_of(stream));
  } catch (const FormatError& error) {
    return error.what();
  }
  ADD_FAILURE() << "this was read: " << stream.substr(0, 60);
  return {};
}

long peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// Refused within a second or so and without 64 MiB of memory beyond the stream's own.
void expect_cheap(const std::string& stream, bool may_be_read = false) {
  EXPECT_EQ(test::run_in_child([&] {
              const auto bytes = bytes_of(stream);
              const long before = peak_kilobytes();
              const auto start = Clock::now();
              bool read = true;
              try {
                (void)loads(bytes);
              } catch (const FormatError&) {
                read = false;
              }
              EXPECT_TRUE(may_be_read || !read);
              EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
              if (memory_is_ours) {
                EXPECT_LT(peak_kilobytes() - before, 64 * 1024 + static_cast<long>(bytes.size() / 1024));
              }
            }),
            0)
      << stream.substr(0, 40);
}

TEST(PickleHostileTest, SystemCallsInDisguiseAreRefusedAndNamed) {
  const test::TemporaryDirectory directory;
  const std::string command = "touch " + (directory / "ran").string();
  const auto text = [](std::string_view value) { return "\x8c" + little_endian(value.size(), 1) + std::string(value); };
  const std::vector<std::pair<std::string, std::string>> streams{
      {"cos\nsystem\n(S'" + command + "'\ntR.", "os system"},
      {"cos\nsystem\n(V" + command + "\ntR.", "os system"},
      {"\x80\x04" + text("posix") + text("system") + "\x93" + text(command) + "\x85R.", "posix system"},
      {"cbuiltins\neval\n(V1\ntR.", "builtins eval"},
      {"cbuiltins\ngetattr\n.", "builtins getattr"},
      {"cbuiltins\nset.__class__\n.", "builtins set.__class__"},
      {"c__builtin__\nset\nx\n.", "__builtin__ set"},
      {"csubprocess\nPopen\n)\x81.", "subprocess Popen"},
      {"cnumpy\nload\n.", "numpy load"},
      {"cnumpy.core.multiarray\n_vec_string\n.", "numpy.core.multiarray _vec_string"},
      {"c_codecs\ndecode\n.", "_codecs decode"},
      {"cbuil\x01tins\x7f\nset\n.", "buil\\x01tins\\x7f set"},
      {"c" + std::string(500, 'm') + "\nf\n.", std::string(80, 'm') + "..."},
  };
  for (const auto& [stream, name] : streams) {
    const auto message = refusal(stream);
    EXPECT_TRUE(message.find(name) != std::string::npos || stream.find("S'") != std::string::npos ||
                stream.find("\nx\n") != std::string::npos)
        << message;
  }
  EXPECT_FALSE(std::filesystem::exists(directory / "ran"));
}

TEST(PickleHostileTest, OnlyTheKnownOperationsExist) {
  const std::string known = "(.012FIJKLMNRSTUVXabcdeghjlpqrstu])}GBC"s;
  for (int code = 0; code < 256; ++code) {
    const bool is_known = known.find(static_cast<char>(code)) != std::string::npos || (code >= 0x80 && code <= 0x98);
    const auto message = refusal(std::string(1, static_cast<char>(code)) + "....................");
    const bool unknown = message.find("unknown operation") != std::string::npos;
    const bool never = code == 0x82 || code == 0x83 || code == 0x84;  // extension registry: Python code by number
    EXPECT_EQ(unknown, !is_known || never) << std::hex << code << " " << message;
  }
}

TEST(PickleHostileTest, EachOperationOnAnEmptyStackIsRefused) {
  for (const std::string& op : std::vector<std::string>{
           "0",    "1", "2", "R",    "a",    "b",    "d",    "e",    "l",    "q\x00"s, "r\x00\x00\x00\x00"s,
           "s",    "t", "u", "\x81", "\x85", "\x86", "\x87", "\x90", "\x91", "\x92",   "\x93",
           "\x94", "."}) {
    (void)refusal(op + ".");
    if (op != "0" && op != "1") (void)refusal("N(" + op + ".");  // what lies below a mark is not to be touched
  }
}

TEST(PickleHostileTest, LengthsAreComparedWithWhatIsThere) {
  for (const std::string& stream : std::vector<std::string>{
           "\x8e" + little_endian(std::uint64_t{4} << 30, 8), "\x8e" + little_endian(~0ULL, 8),
           "\x8e" + little_endian(1ULL << 63, 8), "\x8d" + little_endian(~0ULL - 8, 8),
           "\x96" + little_endian(~0ULL, 8), "X" + little_endian(0xFFFFFFFF, 4), "B" + little_endian(0x7FFFFFFF, 4),
           "\x8b" + little_endian(0x80000000, 4), "\x8b" + little_endian(0x7FFFFFFF, 4), "\x8a\xff"s,
           "\x80\x04\x95" + little_endian(~0ULL, 8), "\x80\x04\x95" + little_endian(1000, 8), "\x8c\xff"s + "short",
           "C\x80"s}) {
    expect_cheap(stream + "abcdefgh.");
  }
}

TEST(PickleHostileTest, FramesMustHoldWholeItems) {
  EXPECT_EQ(loads(bytes_of("\x80\x04\x95" + little_endian(3, 8) + "K\x01.")).as_int(), 1);
  EXPECT_EQ(loads(bytes_of("\x80\x04\x95" + little_endian(2, 8) + "K\x01.")).as_int(), 1);  // the end may lie outside
  EXPECT_NE(refusal("\x80\x04\x95" + little_endian(1, 8) + "K\x01.").find("frame ends"), std::string::npos);
  EXPECT_NE(
      refusal("\x80\x04\x95" + little_endian(12, 8) + "\x95" + little_endian(3, 8) + "K\x01.").find("frame within"),
      std::string::npos);
}

TEST(PickleHostileTest, MemoPlacesMustHaveBeenSet) {
  (void)refusal("h\x00."s);
  (void)refusal("Nq\x01h\x00."s);
  (void)refusal("Nr\xff\xff\xff\xff.");
  (void)refusal("Np999999999999\n.");
  (void)refusal("Np-1\n.");
  (void)refusal("Np\n.");
  (void)refusal("j\xff\xff\xff\xff.");
}

TEST(PickleHostileTest, DeepNestingIsRefusedHoweverItIsBuilt) {
  constexpr std::size_t levels = 100'000;
  expect_cheap(repeat("]", levels) + repeat("a", levels - 1) + ".");
  expect_cheap(")" + repeat("\x85", levels) + ".");
  expect_cheap("N" + repeat("\x85", levels) + ".");
  expect_cheap(repeat("(", levels) + repeat("t", levels) + ".");
  expect_cheap(repeat("(", levels) + repeat("l", levels) + ".");
  expect_cheap(repeat("}N", levels) + "N" + repeat("s", levels) + ".");
  expect_cheap(")" +
               repeat("\x85}\x94"
                      "0",
                      levels) +
               ".");
  expect_cheap("N" + repeat("\x85", 5000) + "q\x00}h\x00Ns."s);  // as a key
  // From the outside in: each list is empty when it is put into the one around it.
  std::string stream = "]\x94";
  for (std::uint32_t i = 1; i < levels; ++i) {
    stream +=
        "]\x94"
        "0j" +
        little_endian(i - 1, 4) + "j" + little_endian(i, 4) + "a0";
  }
  expect_cheap(stream + "j" + little_endian(0, 4) + ".");
  std::string good = repeat("]", 1000) + repeat("a", 999);
  EXPECT_NO_THROW((void)loads(bytes_of(good + ".")));
  EXPECT_NE(refusal("]" + good + "a.").find("deeper than 1000"), std::string::npos);
}

TEST(PickleHostileTest, MemoryIsBoundedForEveryOperationThatMakesSomething) {
  constexpr std::size_t times = memory_is_ours ? 4'000'000 : 200'000;
  for (const std::string& piece :
       std::vector<std::string>{"N", "]", "}", "(", "\x8f", "]\x94", "N\x94", ")\x94", "K\x01", "\x88", "\x8a\x00"s,
                                "\x8c\x01x", "C\x01x", "](l", "(\x91", "2", "cnumpy\nndarray\n", "I7\n", "Vx\n"}) {
    expect_cheap("N" + repeat(piece, times / piece.size()) + ".");
  }
  expect_cheap("]" + repeat("(" + repeat("N", 1000) + "e", 5000) + ".");
  expect_cheap("}" + repeat("K\x01K\x01K\x02K\x02", 10) + ".");
  std::string dict = "}(";
  for (std::uint32_t i = 0; i < (memory_is_ours ? 800'000U : 500'000U); ++i) dict += "J" + little_endian(i, 4) + "N";
  expect_cheap(dict + "u.");
}

TEST(PickleHostileTest, SharedBytesAreNotCopiedAgainAndAgain) {
  const std::string megabyte = "B" + little_endian(1 << 20, 4) + std::string(1 << 20, 'x') + "q\x00"s + "0";
  expect_cheap(megabyte + "(" + repeat("cbuiltins\nbytearray\nh\x00\x85R"s, 1000) + "t.");
  expect_cheap(megabyte + "(" + repeat("h\x00"s, 500'000) + "t.", true);
  const std::string text = "X" + little_endian(1 << 20, 4) + std::string(1 << 20, 'x') + "q\x00"s + "0";
  expect_cheap(text + "(" + repeat("c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"s, 1000) + "t.");
  std::string list = "](" + repeat("K\x01", 100'000) + "eq\x00"s + "0(";
  expect_cheap(list + repeat("cbuiltins\nset\nh\x00\x85R"s, 10'000) + "t.");
}

TEST(PickleHostileTest, BuffersMadeReadOnlyAgainAndAgainDoNotOwnOneAnotherInAChain) {
  const std::string bytearray = "\x80\x05\x96" + little_endian(1, 8) + "x";
  expect_cheap(bytearray + repeat("\x98", 300'000) + ".", true);
  EXPECT_EQ(loads(bytes_of(bytearray + "\x98\x98.")), Object::bytes(bytes_of("x")));
}

TEST(PickleHostileTest, LargeAndTangledKeysCostNoMoreThanTheyAre) {
  // One key of a megabyte, used a hundred thousand times.
  const std::string text = "X" + little_endian(1 << 20, 4) + std::string(1 << 20, 'x') + "q\x00"s + "0";
  expect_cheap(text + "}(" + repeat("h\x00N"s, 100'000) + "u.", true);
  // Two tuples with 2^200 paths to the bottom each, as keys of one dict.
  const std::string tangle = ")" + repeat("q\x00h\x00\x86"s, 200);
  expect_cheap("}(" + tangle + "N" + tangle + "Nu.", true);
  EXPECT_EQ(loads(bytes_of("}(" + tangle + "N" + tangle + "Nu.")).size(), 1U);
}

TEST(PickleHostileTest, NumpyArraysMustBeWhatTheySay) {
  const std::string array =
      "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
      "C\x01"
      "b\x87R"s;
  const std::string dtype =
      "cnumpy\ndtype\nX\x02\x00\x00\x00"
      "f8\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"s;
  const auto build = [&](const std::string& shape, const std::string& type, const std::string& bytes) {
    return array + "(K\x01" + shape + type + "\x89" + bytes + "tb.";
  };
  const std::string eight =
      "C\x08"
      "abcdefgh";
  EXPECT_EQ(loads(bytes_of(build("K\x01\x85", dtype, eight))).as_array().shape(), Shape{1});
  EXPECT_EQ(loads(bytes_of(array + ".")).as_array().shape(), Shape{0});
  (void)refusal(build("K\x02\x85", dtype, eight));
  (void)refusal(build("J\xff\xff\xff\xff\x85", dtype, eight));
  (void)refusal(build("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10\x85"s, dtype, eight));  // 2^60 elements
  (void)refusal(build("(" + repeat("K\x01", 33) + "t", dtype, eight));
  (void)refusal(build("K\x01", dtype, eight));
  (void)refusal(build("K\x01\x85",
                      "X\x02\x00\x00\x00"
                      "f8"s,
                      eight));
  (void)refusal(build("K\x01\x85", dtype, "]"));
  (void)refusal(build("K\x01\x85",
                      "cnumpy\ndtype\nX\x03\x00\x00\x00"
                      "f64\x89\x88\x87R"s,
                      eight));
  (void)refusal(
      "cnumpy.core.multiarray\n_reconstruct\ncbuiltins\nset\nK\x00\x85"
      "C\x01"
      "b\x87R."s);
  (void)refusal("cnumpy\nndarray\n)R.");
  (void)refusal("]K\x01\x62.");  // state for a list
  (void)refusal("cnumpy.core.numeric\n_frombuffer\n(" + eight + dtype + "K\x01\x85X\x01\x00\x00\x00KtR."s);
}

TEST(PickleHostileTest, AGlobalIsNoValue) {
  for (const std::string& stream : std::vector<std::string>{
           "cbuiltins\nset\n.", "]cbuiltins\nset\na.", "cbuiltins\nset\n\x85.", "}cbuiltins\nset\nNs.",
           "}Ncbuiltins\nset\ns.", "(cbuiltins\nset\n\x91.", "cbuiltins\nset\ncbuiltins\nset\nR."}) {
    (void)refusal(stream);
  }
}

std::vector<std::byte> rich_pickle(int protocol) {
  Object list =
      Object::list({1, -70000, 2.5, "text", std::string(300, 'y'), Object::bytes({std::byte{1}}), true, Object()});
  list.append(Object::back_reference(list));
  return dumps(
      Object::tuple({list, list, BigInt::from_decimal("99999999999999999999").value(),
                     Object::dict({{"key", Object::set({1, 2})}, {Object::frozenset({3}), Object::bytearray({})}}),
                     std::complex<double>(1, 2), Object::ordered_dict({{"a", 1}, {"b", 2}}),
                     NdBuffer("<f8", {2, 2}, Order::fortran, std::vector<std::byte>(32))}),
      protocol);
}

TEST(PickleHostileTest, AStreamCutAtAnyByteIsRefused) {
  for (int protocol = 2; protocol <= 5; ++protocol) {
    const auto whole = rich_pickle(protocol);
    ASSERT_EQ(loads(whole), loads(rich_pickle(5)));
    for (std::size_t length = 0; length < whole.size(); ++length) {
      ASSERT_THROW((void)loads(std::span(whole).first(length)), FormatError) << length;
    }
  }
}

TEST(PickleHostileTest, MutatedStreamsAreReadOrRefused) {
  std::mt19937_64 random(7);
  int refused = 0;
  constexpr int rounds = memory_is_ours ? 40'000 : 10'000;
  for (int i = 0; i < rounds; ++i) {
    auto stream = rich_pickle(2 + i % 4);
    for (std::uint64_t changes = 1 + random() % 6; changes > 0; --changes) {
      const std::size_t place = random() % stream.size();
      switch (random() % 4) {
        case 0:
          stream[place] = std::byte(random() % 256);
          break;
        case 1:
          stream.erase(stream.begin() + static_cast<std::ptrdiff_t>(place));
          break;
        case 2:
          stream.insert(stream.begin() + static_cast<std::ptrdiff_t>(place), std::byte(random() % 256));
          break;
        default:
          stream[place] = stream[random() % stream.size()];
          break;
      }
    }
    try {
      const Object object = loads(stream);
      ASSERT_EQ(loads(dumps(object)), object);  // what was read is a whole object
    } catch (const FormatError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, rounds / 2);
}

TEST(PickleHostileTest, LimitsAreTheCallersToSet) {
  const auto list = dumps(Object::list(std::vector<Object>(10'000, Object(1))));
  EXPECT_NO_THROW((void)loads(list));
  EXPECT_THROW((void)loads(list, {.max_bytes = 1000}), FormatError);
  EXPECT_THROW((void)loads(list, {.max_memory = 10'000}), FormatError);
  EXPECT_THROW((void)loads(dumps(Object::list({Object::list()})), {.max_depth = 1}), FormatError);
}

}  // namespace
}  // namespace runrig::pickle
