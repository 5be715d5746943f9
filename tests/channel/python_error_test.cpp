#include "runrig/channel/python_error.hpp"

#include <gtest/gtest.h>

#include "runrig/channel/pickle.hpp"
#include "runrig/sync/error.hpp"
#include "support.hpp"

namespace runrig::pickle {
namespace {

Object raised(std::string_view type, std::vector<Object> arguments = {"why"}) {
  return Object::exception(type, std::move(arguments));
}

/// Throws it, expects an E, and expects the same exception of Python's when that is sent back.
template <class E>
void expect_as(const Object& error, std::string_view line) {
  try {
    throw_python_error(error);
  } catch (const E& thrown) {
    EXPECT_EQ(thrown.what(), line);
    const auto& python = dynamic_cast<const PythonError&>(thrown);
    EXPECT_EQ(python.object(), error);
    EXPECT_TRUE(python.is(error.exception_type()) && python.is("BaseException") && !python.is("SyntaxError"));
    EXPECT_EQ(to_python_error(thrown), error);
    return;
  } catch (const std::exception& other) {
    ADD_FAILURE() << "of another type: " << other.what();
  }
}

TEST(PythonErrorTest, ExceptionsOfPythonAreThrownAsWhatStandsForThem) {
  expect_as<std::out_of_range>(raised("IndexError"), "IndexError: why");
  expect_as<std::out_of_range>(raised("KeyError", {Object::tuple({1})}), "KeyError: (tuple)");
  expect_as<std::overflow_error>(raised("OverflowError"), "OverflowError: why");
  expect_as<std::invalid_argument>(raised("ValueError"), "ValueError: why");
  expect_as<std::invalid_argument>(raised("UnicodeError"), "UnicodeError: why");
  expect_as<std::bad_alloc>(raised("MemoryError", {}), "MemoryError");
  expect_as<EndOfStream>(raised("EOFError", {}), "EOFError");
  expect_as<TimeoutError>(raised("TimeoutError"), "TimeoutError: why");
  expect_as<TimeoutError>(raised("multiprocessing.context.TimeoutError", {}), "multiprocessing.context.TimeoutError");
  expect_as<AuthenticationError>(raised("multiprocessing.context.AuthenticationError"),
                                 "multiprocessing.context.AuthenticationError: why");
  expect_as<BrokenBarrier>(raised("threading.BrokenBarrierError", {}), "threading.BrokenBarrierError");
  expect_as<BufferTooShort>(raised("multiprocessing.context.BufferTooShort", {Object::bytes({std::byte{1}})}),
                            "multiprocessing.context.BufferTooShort: (bytes)");
  expect_as<std::system_error>(raised("OSError", {ENOENT, "no file"}), "FileNotFoundError: no file");
  expect_as<std::runtime_error>(raised("OSError"), "OSError: why");
  expect_as<std::runtime_error>(raised("queue.Empty", {}), "queue.Empty");
  expect_as<std::runtime_error>(raised("KeyboardInterrupt", {}), "KeyboardInterrupt");
  EXPECT_EQ(test::thrown_code([] {
              throw_python_error(raised("OSError", {EACCES, "x"}));
            }),
            std::errc::permission_denied);
  EXPECT_EQ(test::thrown_code([] { throw_python_error(5); }), ErrorKind::format);
}

TEST(PythonErrorTest, ExceptionsOfCppAreRaisedAsWhatStandsForThem) {
  const auto type_of = [](const std::exception& error) { return std::string(to_python_error(error).exception_type()); };
  EXPECT_EQ(type_of(std::out_of_range("x")), "IndexError");
  EXPECT_EQ(type_of(std::overflow_error("x")), "OverflowError");
  EXPECT_EQ(type_of(std::invalid_argument("x")), "ValueError");
  EXPECT_EQ(type_of(std::length_error("x")), "ValueError");
  EXPECT_EQ(type_of(std::bad_alloc()), "MemoryError");
  EXPECT_EQ(type_of(std::logic_error("x")), "RuntimeError");
  EXPECT_EQ(type_of(EndOfStream("receive from", "x")), "EOFError");
  EXPECT_EQ(type_of(TimeoutError("wait for", "x")), "multiprocessing.context.TimeoutError");
  EXPECT_EQ(type_of(FormatError("read", "x", "why")), "ValueError");
  EXPECT_EQ(type_of(OwnerDied("x")), "RuntimeError");
  const Object missing = to_python_error(Error(std::errc::no_such_file_or_directory, "open", "x"));
  EXPECT_EQ(missing.exception_type(), "FileNotFoundError");
  EXPECT_EQ(missing.at(0).as_int(), ENOENT);
  EXPECT_EQ(missing.at(1).as_string(), "open 'x': No such file or directory");
  const Object shorter = to_python_error(BufferTooShort("receive", "x", {std::byte{7}}));
  EXPECT_EQ(shorter.at(0), Object::bytes({std::byte{7}}));
  EXPECT_NO_THROW((void)dumps(to_python_error(std::runtime_error("\xff"))));
  EXPECT_EQ(to_python_error(std::make_exception_ptr(5)).exception_type(), "RuntimeError");
  EXPECT_EQ(to_python_error(std::make_exception_ptr(std::out_of_range("x"))).exception_type(), "IndexError");
}

}  // namespace
}  // namespace runrig::pickle
