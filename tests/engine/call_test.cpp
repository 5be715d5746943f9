#include "runrig/engine/call.hpp"

#include <sys/mman.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "support.hpp"

namespace runrig {
namespace {

using detail::AddressLayout;
using detail::Call;
using detail::CallWire;

int difference(int a, int b) { return a - b; }

pickle::Object invoke(const CallWire& wire) {
  std::vector<std::byte> bytes;
  wire.write(bytes);
  std::vector<std::byte> result;
  CallWire::read(bytes).invoke(result);
  return pickle::loads(result);
}

TEST(CallTest, FunctionsLambdasAndFunctorsAreCalledWithTheirArguments) {
  struct Scaled {
    double factor;
    double operator()(double x) const { return factor * x; }
  };
  const int base = 40;
  EXPECT_EQ(invoke(Call::make(&difference, 10, 3).wire()).as_int(), 7);
  EXPECT_EQ(invoke(Call::make([](int x) { return -x; }, 4).wire()).as_int(), -4);
  EXPECT_EQ(invoke(Call::make([base](int x) { return base + x; }, 2).wire()).as_int(), 42);
  EXPECT_EQ(invoke(Call::make(Scaled{2.5}, 4.0).wire()).as_real(), 10);
  EXPECT_EQ(
      invoke(
          Call::make([](const std::string& a, std::string b) { return a + b; }, std::string("left "), "right").wire())
          .as_string(),
      "left right");
}

TEST(CallTest, AFunctionWithoutResultGivesNone) {
  EXPECT_TRUE(invoke(Call::make([](int) {}, 1).wire()).is_none());
}

TEST(CallTest, WhatIsThrownComesOutAndLeavesNoPartOfAResult) {
  const auto wire = Call::make([](int x) -> int { throw std::out_of_range("number " + std::to_string(x)); }, 5).wire();
  std::vector<std::byte> result(3);
  EXPECT_THROW(wire.invoke(result), std::out_of_range);
  EXPECT_EQ(result.size(), 3U);
}

TEST(CallTest, TextIsCopiedWhenTheCallIsMade) {
  auto text = std::make_unique<std::string>("a text that is longer than what fits into a std::string itself");
  const Call call = Call::make([](const std::string& received) { return received.size(); }, text->c_str());
  const std::size_t size = text->size();
  text.reset();
  EXPECT_EQ(invoke(call.wire()).as_uint(), size);
}

TEST(CallTest, ACallRunsHereWithTheArgumentsAsTheyWouldArrive) {
  static int seen = 0;
  Call::make([](int x) { seen = x; }, 9).run_here();
  EXPECT_EQ(seen, 9);
  Call().run_here();
}

TEST(CallTest, ForkOnlyTakesAnyCallableAndSaysWhyItCannotCross) {
  auto counter = std::make_shared<int>(0);
  const Call call = Call::fork_only([counter, text = std::string("any capture")] { ++*counter; });
  EXPECT_TRUE(call.is_fork_only());
  call.check(AddressLayout::forked, "start process 'p'");
  call.run_here();
  EXPECT_EQ(*counter, 1);
  const std::string why = test::thrown_text([&] { (void)call.wire(); });
  EXPECT_NE(why.find("fork_only can only run in a forked child"), std::string::npos) << why;
  EXPECT_THROW(call.check(AddressLayout::foreign, "start process 'p'"), std::logic_error);
  EXPECT_THROW((void)Call().wire(), std::logic_error);
}

TEST(CallTest, ANullFunctionIsAMistakeOfTheCaller) {
  int (*const none)(int) = nullptr;
  EXPECT_THROW((void)Call::make(none, 1), std::logic_error);
}

TEST(CallTest, CapturedPointersIntoPrivateMemoryAreRefusedForEveryLayout) {
  std::vector<double> heap(1000);
  double* const data = heap.data();
  int local = 0;
  const std::uint64_t number = 3;
  for (const auto layout : {AddressLayout::forked, AddressLayout::foreign}) {
    const auto refused = [&](const Call& call) { return test::thrown_text([&] { call.check(layout, "start 'p'"); }); };
    const std::string text = refused(Call::make([number, data] { *data = static_cast<double>(number); }));
    EXPECT_EQ(text.rfind("start 'p': the callable's captures hold, at byte 8, a pointer or reference into", 0), 0U)
        << text;
    EXPECT_NE(text.find("as arguments"), std::string::npos) << text;
    EXPECT_NE(refused(Call::make([&local] { local = 1; })).find("[stack]"), std::string::npos);
    EXPECT_NE(refused(Call::make([ref = std::ref(heap)] { ref.get().clear(); })), "");
    EXPECT_EQ(refused(Call::make([number](double x) { return x * static_cast<double>(number); }, 1.0)), "");
  }
}

TEST(CallTest, ConstantsAndSharedMemoryMayBeCapturedWhereTheChildIsForkedOnly) {
  void* const shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  const char* const constant = "constant";
  const auto function = &difference;
  const Call calls[] = {Call::make([shared] { *static_cast<int*>(shared) = 1; }),
                        Call::make([constant] { return std::string(constant); }),
                        Call::make([function] { return function(2, 1); })};
  for (const Call& call : calls) {
    EXPECT_NO_THROW(call.check(AddressLayout::forked, "start"));
    const std::string text = test::thrown_text([&] { call.check(AddressLayout::foreign, "start"); });
    EXPECT_NE(text.find("means nothing in a process that executes the program anew"), std::string::npos) << text;
  }
  ::munmap(shared, 4096);
}

TEST(CallTest, DamagedCallsAreRefused) {
  const auto wire = Call::make([base = 1](int x) { return base + x; }, 2).wire();
  std::vector<std::byte> bytes;
  wire.write(bytes);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW((void)CallWire::read(std::span(bytes).first(length)), FormatError) << length;
  }
  CallWire short_closure = wire;
  short_closure.closure.pop_back();
  EXPECT_THROW((void)invoke(short_closure), FormatError);
  CallWire other_arguments = wire;
  other_arguments.arguments.clear();
  EXPECT_THROW((void)invoke(other_arguments), FormatError);
  CallWire no_function = Call::make(&difference, 1, 2).wire();
  no_function.function = {};
  EXPECT_THROW((void)invoke(no_function), FormatError);
}

TEST(CallTest, ACallOnTheWireIsAPickleThatPythonReads) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  std::vector<std::byte> bytes;
  Call::make(&difference, 10, 3).wire().write(bytes);
  const test::TemporaryDirectory directory;
  const std::string path = directory / "call.pickle";
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
  ASSERT_EQ(std::fclose(file), 0);
  const auto result = test::run_python(python,
                                       "import pickle, sys\n"
                                       "code, function, closure, arguments = pickle.load(open(sys.argv[1], 'rb'))\n"
                                       "print(len(code[0]), len(function[0]), closure, pickle.loads(arguments))\n",
                                       {path});
  EXPECT_EQ(result.out, "20 20 b'' (10, 3)\n") << result.err;
}

}  // namespace
}  // namespace runrig
