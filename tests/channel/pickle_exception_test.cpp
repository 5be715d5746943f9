#include <gtest/gtest.h>

#include "runrig/channel/pickle.hpp"
#include "samples.hpp"
#include "support.hpp"

// Exceptions of Python's standard types, as Objects. With a real Python: pickle_python_test.cpp.
namespace runrig::pickle {
namespace {

using test_samples::bytes_of;

TEST(PickleExceptionTest, TypeArgumentsAndAttributesAreReadAsTheyWereGiven) {
  const Object error = Object::exception("KeyError", {"a", 1}, Object::dict({{"note", "n"}}));
  EXPECT_EQ(error.kind(), Kind::exception);
  EXPECT_EQ(error.exception_type(), "KeyError");
  ASSERT_EQ(error.size(), 2U);
  EXPECT_EQ(error.at(0).as_string(), "a");
  EXPECT_EQ(error.exception_attributes().at("note").as_string(), "n");
  EXPECT_TRUE(Object::exception("KeyError").exception_attributes().is_none());
  EXPECT_NE(error, Object::exception("KeyError", {"a", 1}));
  EXPECT_NE(Object::exception("KeyError", {1}), Object::exception("IndexError", {1}));
  EXPECT_EQ(test::thrown_text([] { (void)Object(5).exception_type(); }),
            "read 'object': expected exception, found int");
}

TEST(PickleExceptionTest, WhatIsNoExceptionOfTheStandardLibraryIsTheCallersMistake) {
  EXPECT_THROW((void)Object::exception("int"), std::logic_error);
  EXPECT_THROW((void)Object::exception("my.Error"), std::logic_error);
  EXPECT_THROW((void)Object::exception("KeyError", {}, 5), std::logic_error);
}

TEST(PickleExceptionTest, AnOSErrorWithANumberIsOfTheTypeForThatNumber) {
  EXPECT_EQ(Object::exception("OSError", {ENOENT, "x"}).exception_type(), "FileNotFoundError");
  EXPECT_EQ(Object::exception("OSError", {EPIPE, "x", "name"}).exception_type(), "BrokenPipeError");
  EXPECT_EQ(Object::exception("OSError", {EINVAL, "x"}).exception_type(), "OSError");
  EXPECT_EQ(Object::exception("OSError", {ENOENT}).exception_type(), "OSError");
  EXPECT_EQ(Object::exception("OSError", {"x", "y"}).exception_type(), "OSError");
  EXPECT_EQ(Object::exception("ValueError", {ENOENT, "x"}).exception_type(), "ValueError");
}

TEST(PickleExceptionTest, ATypeIsItsBases) {
  EXPECT_TRUE(exception_is("FileNotFoundError", "OSError"));
  EXPECT_TRUE(exception_is("BrokenPipeError", "ConnectionError"));
  EXPECT_TRUE(exception_is("ValueError", "ValueError"));
  EXPECT_TRUE(exception_is("queue.Empty", "Exception"));
  EXPECT_TRUE(exception_is("ExceptionGroup", "Exception"));
  EXPECT_TRUE(exception_is("ExceptionGroup", "BaseExceptionGroup"));
  EXPECT_FALSE(exception_is("KeyboardInterrupt", "Exception"));
  EXPECT_FALSE(exception_is("OSError", "FileNotFoundError"));
  EXPECT_FALSE(exception_is("no.Such", "Exception"));
  EXPECT_FALSE(exception_is("ValueError", ""));
}

TEST(PickleExceptionTest, OldNamesAreRead) {
  for (const auto& [named, type] : std::vector<std::pair<std::string, std::string>>{
           {"cexceptions\nValueError\n", "ValueError"},
           {"c__builtin__\nValueError\n", "ValueError"},
           {"cbuiltins\nValueError\n", "ValueError"},
           {"cexceptions\nStandardError\n", "Exception"},
           {"cexceptions\nIOError\n", "OSError"},
           {"csocket\nerror\n", "OSError"},
           {"csocket\ntimeout\n", "TimeoutError"},
           {"c_queue\nEmpty\n", "queue.Empty"},
           {"cQueue\nFull\n", "queue.Full"},
           {"cmultiprocessing\nTimeoutError\n", "multiprocessing.context.TimeoutError"}}) {
    EXPECT_EQ(loads(bytes_of(named + "(Vx\ntR.")).exception_type(), type) << named;
  }
}

TEST(PickleExceptionTest, AnExceptionWithinItselfComesBackAndIsFreed) {
  Object inner;
  for (int protocol = 2; protocol <= 5; ++protocol) {
    Object attributes = Object::dict();
    const Object error = Object::exception("ValueError", {"x"}, attributes);
    attributes.insert_or_assign("itself", Object::back_reference(error));
    const Object copy = loads(dumps(error, protocol));
    EXPECT_EQ(copy, error);
    inner = copy.exception_attributes().at("itself");
    EXPECT_TRUE(inner.is_back_reference());
  }
  EXPECT_THROW((void)inner.kind(), std::logic_error) << "nobody holds the exception any more";
}

TEST(PickleExceptionTest, AnExceptionWithinItsOwnArgumentsComesBack) {
  for (const int others : {0, 5}) {  // short tuples and long ones are written differently
    Object list = Object::list();
    std::vector<Object> arguments(static_cast<std::size_t>(others), Object("x"));
    arguments.push_back(list);
    const Object error = Object::exception("KeyError", arguments);
    list.append(Object::back_reference(error));
    for (int protocol = 2; protocol <= 5; ++protocol) EXPECT_EQ(loads(dumps(error, protocol)), error) << protocol;
  }
}

TEST(PickleExceptionTest, RecursionInAStreamThatIsRefusedIsFreed) {
  // The sanitizer looks for leaks: an exception that holds itself, and then something that is no pickle.
  EXPECT_THROW((void)loads(bytes_of("cbuiltins\nValueError\n)Rp0\n(Vx\ng0\ndbR.")), FormatError);
  EXPECT_THROW((void)loads(bytes_of("cbuiltins\nValueError\n)Rp0\n(Vx\ng0\ndb0")), FormatError);
}

TEST(PickleExceptionTest, StateMustBeADictGivenOnce) {
  const std::string error = "cbuiltins\nValueError\n(Vx\ntR";
  EXPECT_EQ(loads(bytes_of(error + "(Vk\nI1\ndb.")).exception_attributes(), Object::dict({{"k", 1}}));
  EXPECT_TRUE(loads(bytes_of(error + "Nb.")).exception_attributes().is_none());
  EXPECT_TRUE(loads(bytes_of(error + "(db.")).exception_attributes().is_none());
  EXPECT_THROW((void)loads(bytes_of(error + "I1\nb.")), FormatError);
  EXPECT_THROW((void)loads(bytes_of(error + "(Vk\nI1\ndb(Vk\nI1\ndb.")), FormatError);
  EXPECT_THROW((void)loads(bytes_of("}" + error + "Ns.")), FormatError) << "Python's are keys by identity";
}

TEST(PickleExceptionTest, DeepAndManyExceptionsAreRefusedCheaply) {
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "cbuiltins\nValueError\n(";
  for (int i = 0; i < 5000; ++i) deep += "tR";
  EXPECT_THROW((void)loads(bytes_of(deep + ".")), FormatError);
  std::string many = "(cbuiltins\nValueError\nq\x01(";
  for (int i = 0; i < 10'000; ++i) many += "N";
  many += "tq\x02";
  for (int i = 0; i < 100'000; ++i) many += "h\x01h\x02R";  // 10,000 arguments each time
  EXPECT_THROW((void)loads(bytes_of(many + "t.")), FormatError);
}

}  // namespace
}  // namespace runrig::pickle
