// What Python documents in its programming guidelines.

#include <cstdlib>
#include <utility>

#include "process_support.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/shm/value.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;

class ProcessGuidelinesTest : public test::EachStartMethod {};

int global_variable = 1;
constexpr int module_constant = 5;

TEST_P(ProcessGuidelinesTest, GlobalVariables_AreThoseOfTheParentByForkOnly) {
  global_variable = 2;
  const int seen = run([] { std::exit(global_variable); });
  global_variable = 1;
  EXPECT_EQ(seen, GetParam() == StartMethod::fork ? 2 : 1);
  EXPECT_EQ(run([] { std::exit(module_constant); }), 5) << "constants cause no problems";
}

TEST_P(ProcessGuidelinesTest, Arguments_StayAliveAsLongAsTheProcessObject) {
  const Value<int> started(0);
  Process process = make(
      [](const Value<int>& gate, const Value<int>& only) {
        gate = 1;
        while (gate.get() != 2) std::this_thread::sleep_for(1ms);
        const auto again = Value<int>::attach(only.handle());  // looks for the block of its maker
        std::exit(again.get());
      },
      started, Value<int>(42));  // nobody but the process object has the second
  process.start();
  EXPECT_TRUE(test::eventually([&] { return started.get() == 1; }, 30s));
  started = 2;
  EXPECT_TRUE(process.join(30s));
  EXPECT_EQ(process.exit_code(), 42);
}

RUNRIG_FOR_EACH_START_METHOD(ProcessGuidelinesTest);

}  // namespace
}  // namespace runrig
