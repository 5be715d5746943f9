#include "runrig/engine/remote_exception.hpp"

#include <any>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <variant>

#include "process/failure_text.hpp"
#include "runrig/channel/pickle.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using detail::ExceptionRecord;

class Registered : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class FromCharacters : public std::logic_error {
 public:
  explicit FromCharacters(const char* text) : std::logic_error(text) {}
};
class FromNothing : public std::exception {};
class Unregistered : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class Throw>
ExceptionRecord captured(const Throw& throwing) {
  try {
    throwing();
  } catch (...) {
    return detail::capture(std::current_exception());
  }
  return {};
}

ExceptionRecord through_bytes(const ExceptionRecord& record) {
  std::vector<std::byte> bytes;
  detail::encode(bytes, record);
  EXPECT_LE(bytes.size(), detail::max_exception_bytes);
  return detail::decode_exception(bytes);
}

template <class Throw>
void throw_again(const Throw& throwing) {
  detail::rethrow(through_bytes(captured(throwing)), "ForkPoolWorker-2", 4711);
}

// Expects that what `throwing` throws arrives as an E that is a RemoteOrigin too, and passes it on.
template <class E, class Throw, class Look>
void expect_arrives(const Throw& throwing, const Look& look) {
  try {
    throw_again(throwing);
    FAIL() << "nothing was thrown";
  } catch (const std::exception& caught) {
    ASSERT_NE(dynamic_cast<const E*>(&caught), nullptr) << "another type: " << caught.what();
    const E& error = dynamic_cast<const E&>(caught);
    const auto* origin = dynamic_cast<const RemoteOrigin*>(&error);
    ASSERT_NE(origin, nullptr);
    EXPECT_STREQ(origin->worker_name(), "ForkPoolWorker-2");
    EXPECT_EQ(origin->worker_pid(), 4711);
    const std::string what = error.what();
    EXPECT_EQ(what.rfind("ForkPoolWorker-2 (process 4711): ", 0), 0U) << what;
    EXPECT_NE(what.find(origin->text()), std::string::npos) << what;
    EXPECT_NE(what.find(origin->type()), std::string::npos) << what;
    look(error);
  }
}

template <class E>
void expect_arrives_as_itself(const E& thrown) {
  SCOPED_TRACE(detail::demangled(typeid(E).name()));
  expect_arrives<E>([&] { throw thrown; },
                    [&](const E& error) {
                      const auto& origin = dynamic_cast<const RemoteOrigin&>(error);
                      EXPECT_EQ(std::string(origin.text()), thrown.what());
                      EXPECT_EQ(origin.type(), detail::demangled(typeid(E).name()));
                    });
}

TEST(RemoteExceptionTest, StandardExceptionsArriveAsTheirOwnType) {
  expect_arrives_as_itself(std::exception());
  expect_arrives_as_itself(std::logic_error("logic"));
  expect_arrives_as_itself(std::invalid_argument("argument"));
  expect_arrives_as_itself(std::domain_error("domain"));
  expect_arrives_as_itself(std::length_error("length"));
  expect_arrives_as_itself(std::out_of_range("range"));
  expect_arrives_as_itself(std::runtime_error("runtime"));
  expect_arrives_as_itself(std::range_error("range"));
  expect_arrives_as_itself(std::overflow_error("overflow"));
  expect_arrives_as_itself(std::underflow_error("underflow"));
  expect_arrives_as_itself(std::bad_alloc());
  expect_arrives_as_itself(std::bad_array_new_length());
  expect_arrives_as_itself(std::bad_cast());
  expect_arrives_as_itself(std::bad_typeid());
  expect_arrives_as_itself(std::bad_exception());
  expect_arrives_as_itself(std::bad_any_cast());
  expect_arrives_as_itself(std::bad_function_call());
  expect_arrives_as_itself(std::bad_optional_access());
  expect_arrives_as_itself(std::bad_variant_access());
  expect_arrives_as_itself(std::bad_weak_ptr());
}

TEST(RemoteExceptionTest, CodesAndWhatElseATypeCarriesArrive) {
  expect_arrives<std::system_error>(
      [] { throw std::system_error(ENOSPC, std::system_category(), "write"); },
      [](const std::system_error& error) { EXPECT_EQ(error.code(), std::errc::no_space_on_device); });
  expect_arrives<std::ios_base::failure>(
      [] { throw std::ios_base::failure("read", std::io_errc::stream); },
      [](const std::ios_base::failure& error) { EXPECT_EQ(error.code(), std::io_errc::stream); });
  expect_arrives<std::filesystem::filesystem_error>([] { (void)std::filesystem::file_size("/no/such\xffile"); },
                                                    [](const std::filesystem::filesystem_error& error) {
                                                      EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
                                                      EXPECT_EQ(error.path1().string(), "/no/such\xffile");
                                                    });
  expect_arrives<std::future_error>(
      [] { throw std::future_error(std::future_errc::broken_promise); },
      [](const std::future_error& error) { EXPECT_EQ(error.code(), std::future_errc::broken_promise); });
  expect_arrives<std::regex_error>(
      [] { (void)std::regex("("); },
      [](const std::regex_error& error) { EXPECT_EQ(error.code(), std::regex_constants::error_paren); });
}

TEST(RemoteExceptionTest, ACategoryOfTheProgramsOwnIsKnownByItsName) {
  struct Category final : std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "weather"; }
    [[nodiscard]] std::string message(int) const override { return "rain"; }
  };
  static const Category category;
  expect_arrives<std::system_error>([] { throw std::system_error(7, category, "look outside"); },
                                    [](const std::system_error& error) {
                                      EXPECT_EQ(error.code().value(), 7);
                                      EXPECT_STREQ(error.code().category().name(), "weather");
                                      EXPECT_NE(std::string(error.what()).find("rain"), std::string::npos);
                                    });
}

TEST(RemoteExceptionTest, TheEnginesOwnKindsArriveAsThemselves) {
  const auto arrives = []<class E>(const E& thrown) {
    SCOPED_TRACE(thrown.what());
    expect_arrives<E>([&] { throw thrown; }, [&](const E& error) { EXPECT_EQ(error.code(), thrown.code()); });
  };
  arrives(Error(std::errc::file_exists, "create", "temps"));
  arrives(OwnerDied("counter"));
  arrives(Poisoned("counter"));
  arrives(TimeoutError("wait for", "result"));
  arrives(FormatError("attach", "temps", "its magic is wrong"));
  arrives(BufferTooShort("receive", "pipe"));
  arrives(EndOfStream("receive from", "pipe"));
  arrives(Empty("queue"));
  arrives(Full("queue"));
  arrives(AuthenticationError("connect", "socket"));
  arrives(Cancelled("run"));
  arrives(BrokenBarrier("a party died"));
  expect_arrives<WorkerLost>([] { throw WorkerLost(12, SIGKILL, "task 3"); },
                             [](const WorkerLost& error) {
                               EXPECT_EQ(error.pid(), 12);
                               EXPECT_EQ(error.signal(), SIGKILL);
                             });
  const std::vector<SliceLost::Range> ranges = {{1, 5}, {7, UINT64_MAX}};
  expect_arrives<SliceLost>([&] { throw SliceLost(ranges, "killed"); },
                            [&](const SliceLost& error) { EXPECT_EQ(error.ranges(), ranges); });
  expect_arrives<RemoteError>([] { throw RemoteError("Type", "text", 99, "slice 1"); },
                              [](const RemoteError& error) {
                                EXPECT_EQ(error.type(), "Type");
                                EXPECT_EQ(error.worker(), 99);
                              });
}

TEST(RemoteExceptionTest, TooManyLostRangesAreJoinedAndStillCoverAll) {
  std::vector<SliceLost::Range> ranges;
  for (std::uint64_t i = 0; i < 10'001; ++i) ranges.push_back({10 * i, 10 * i + 3});
  expect_arrives<SliceLost>([&] { throw SliceLost(ranges, "killed"); },
                            [&](const SliceLost& error) {
                              ASSERT_FALSE(error.ranges().empty());
                              auto cover = error.ranges().begin();
                              for (const auto& range : ranges) {
                                while (cover != error.ranges().end() && cover->end < range.end) ++cover;
                                ASSERT_NE(cover, error.ranges().end());
                                ASSERT_LE(cover->begin, range.begin);
                              }
                            });
}

TEST(RemoteExceptionTest, RegisteredTypesArriveAsThemselvesAndOthersAsRemoteError) {
  register_exception<Registered>();
  register_exception<FromCharacters>();
  register_exception<FromNothing>();
  expect_arrives_as_itself(Registered("mine"));
  expect_arrives_as_itself(FromCharacters("mine"));
  expect_arrives_as_itself(FromNothing());
  expect_arrives<RemoteError>([] { throw Unregistered("not known"); },
                              [](const RemoteError& error) {
                                EXPECT_NE(error.type().find("Unregistered"), std::string::npos) << error.type();
                                EXPECT_EQ(error.text(), "not known");
                                EXPECT_EQ(error.worker(), 4711);
                              });
}

TEST(RemoteExceptionTest, WhatIsNoExceptionArrivesAsRemoteErrorWithItsType) {
  const auto arrives = [](const auto& thrown, const std::string& type, const std::string& text) {
    expect_arrives<RemoteError>([&] { throw thrown; },
                                [&](const RemoteError& error) {
                                  EXPECT_EQ(error.type(), type);
                                  EXPECT_EQ(error.text(), text);
                                });
  };
  struct Odd {};
  arrives(42, "int", "42");
  arrives(2.5, "double", "");
  arrives(std::string("a text"), "std::string", "a text");
  arrives(static_cast<const char*>("characters"), "char const*", "characters");
  arrives(Odd(), detail::demangled(typeid(Odd).name()), "");
}

void throw_nested() {
  try {
    try {
      throw std::system_error(EIO, std::system_category(), "read");
    } catch (...) {
      std::throw_with_nested(std::out_of_range("middle"));
    }
  } catch (...) {
    std::throw_with_nested(Registered("outer"));
  }
}

TEST(RemoteExceptionTest, NestedExceptionsStayNestedEachAsItsOwnType) {
  expect_arrives<Registered>(throw_nested, [](const Registered& outer) {
    EXPECT_NE(std::string(outer.what()).find("outer: middle: read"), std::string::npos) << outer.what();
    try {
      std::rethrow_if_nested(outer);
      FAIL() << "nothing nested";
    } catch (const std::out_of_range& middle) {
      EXPECT_NE(dynamic_cast<const RemoteOrigin*>(&middle), nullptr);
      EXPECT_THROW(std::rethrow_if_nested(middle), std::system_error);
    }
  });
}

TEST(RemoteExceptionTest, WhatArrivedCanBePassedOnToTheNextProcess) {
  try {
    detail::rethrow(through_bytes(captured([] { throw_again(throw_nested); })), "Process-1", 5);
  } catch (const Registered& error) {
    const std::string what = error.what();
    EXPECT_EQ(what.rfind("Process-1 (process 5): ", 0), 0U) << what;
    EXPECT_NE(what.find("ForkPoolWorker-2 (process 4711)"), std::string::npos) << what;
    EXPECT_THROW(std::rethrow_if_nested(error), std::out_of_range);
  }
}

TEST(RemoteExceptionTest, NestingWithoutEndIsCut) {
  std::exception_ptr chain = std::make_exception_ptr(std::runtime_error("innermost"));
  for (int i = 0; i < 1000; ++i) {
    try {
      try {
        std::rethrow_exception(chain);
      } catch (...) {
        std::throw_with_nested(std::runtime_error("level " + std::to_string(i) + std::string(100'000, 'x')));
      }
    } catch (...) {
      chain = std::current_exception();
    }
  }
  const auto record = through_bytes(detail::capture(chain));
  EXPECT_EQ(record.text.rfind("level 999", 0), 0U);
  std::size_t levels = 0;
  for (const auto* each = &record; !each->nested.empty(); each = &each->nested.front()) ++levels;
  EXPECT_EQ(levels, 8U);
}

// P8: an exception flood may cost time, not memory or order.
TEST(RemoteExceptionTest, HugeMessagesAreCutToWholeCharacters) {
  std::string text(1 << 20, 'x');
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) text.replace(i, 2, "\xc3\xa4");
  const auto record = through_bytes(captured([&] { throw std::runtime_error(text); }));
  EXPECT_GT(record.text.size(), detail::max_exception_bytes / 2);
  EXPECT_EQ(record.text, detail::valid_utf8(record.text));
  EXPECT_EQ(record.text.find('?'), std::string::npos);
  EXPECT_NE(record.text.find(" bytes more)"), std::string::npos);
}

TEST(RemoteExceptionTest, TextThatIsNoUtf8IsMadeSo) {
  const auto record = through_bytes(captured([] { throw std::runtime_error("a\xff\x1b[31mb"); }));
  EXPECT_EQ(record.text, "a??[31mb");
}

TEST(RemoteExceptionTest, AWhatWithoutTextIsNoTrouble) {
  struct Silent : std::exception {
    [[nodiscard]] const char* what() const noexcept override { return nullptr; }
  };
  expect_arrives<RemoteError>([] { throw Silent(); }, [](const RemoteError& error) { EXPECT_EQ(error.text(), ""); });
}

TEST(RemoteExceptionTest, AnExceptionWhoseCopyThrowsIsStillDescribed) {
  struct Fragile : std::runtime_error {
    Fragile() : std::runtime_error("fragile") {}
    Fragile(const Fragile& other) : std::runtime_error(other) { throw std::bad_alloc(); }
  };
  expect_arrives<RemoteError>([] { throw Fragile(); },
                              [](const RemoteError& error) { EXPECT_EQ(error.text(), "fragile"); });
}

TEST(RemoteExceptionTest, DamagedRecordsAreRefused) {
  std::vector<std::byte> bytes;
  detail::encode(bytes, captured(throw_nested));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW((void)detail::decode_exception(std::span(bytes).first(length)), FormatError) << length;
  }
  ExceptionRecord deep;
  for (int i = 0; i < 20; ++i) {
    ExceptionRecord outer;
    outer.nested.push_back(deep);
    deep = outer;
  }
  bytes.clear();
  detail::encode(bytes, deep);
  EXPECT_THROW((void)detail::decode_exception(bytes), FormatError);
}

TEST(RemoteExceptionTest, ARecordThatLacksWhatItsTypeNeedsArrivesAsRemoteError) {
  auto record = captured([] { throw WorkerLost(12, 9, "task 3"); });
  record.numbers.clear();
  EXPECT_THROW(detail::rethrow(record, "w", 1), RemoteError);
  EXPECT_THROW(detail::rethrow(ExceptionRecord(), "w", 1), RemoteError);
}

TEST(RemoteExceptionTest, AnExceptionPointerIsHadWithoutThrowing) {
  const auto pointer = detail::to_exception(captured([] { throw std::out_of_range("x"); }), "w", 1);
  EXPECT_THROW(std::rethrow_exception(pointer), std::out_of_range);
}

}  // namespace
}  // namespace runrig
