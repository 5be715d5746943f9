#include "runrig/engine/start_method.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process_support.hpp"
#include "runrig/engine/context.hpp"
#include "scenes.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;
using testing::HasSubstr;

// The choice is one of the whole program, so each test makes it in a process of its own.
int in_fresh_process(void (*body)()) {
  return test::run_in_child([&] {
    set_start_method(std::nullopt, Force::yes);
    body();
  });
}

TEST(StartMethodTest, GetAllStartMethods_DefaultIsFirst) {
  EXPECT_THAT(start_methods(), ElementsAre(StartMethod::fork, StartMethod::spawn, StartMethod::forkserver));
  EXPECT_EQ(in_fresh_process([] { EXPECT_EQ(get_start_method(), start_methods().front()); }), 0);
}

TEST(StartMethodTest, GetStartMethod_FixesTheDefaultUnlessNoneIsAllowed) {
  EXPECT_EQ(in_fresh_process([] {
              EXPECT_EQ(try_get_start_method(), std::nullopt);
              EXPECT_EQ(try_get_start_method(), std::nullopt);
              EXPECT_EQ(get_start_method(), StartMethod::fork);
              EXPECT_EQ(try_get_start_method(), StartMethod::fork);
            }),
            0);
}

TEST(StartMethodTest, SetStartMethod_IsForOnce) {
  EXPECT_EQ(in_fresh_process([] {
              set_start_method(StartMethod::spawn);
              EXPECT_EQ(get_start_method(), StartMethod::spawn);
              EXPECT_THAT(test::thrown_text([] { set_start_method(StartMethod::fork); }), HasSubstr("spawn already"));
              EXPECT_EQ(get_start_method(), StartMethod::spawn);
              set_start_method(StartMethod::forkserver, Force::yes);
              EXPECT_EQ(get_start_method(), StartMethod::forkserver);
            }),
            0);
}

TEST(StartMethodTest, SetStartMethod_AfterGetIsTooLate) {
  EXPECT_EQ(in_fresh_process([] {
              (void)get_start_method();
              EXPECT_THROW(set_start_method(StartMethod::spawn), std::logic_error);
            }),
            0);
}

TEST(StartMethodTest, SetStartMethod_NoneTakesTheChoiceBack) {
  EXPECT_EQ(in_fresh_process([] {
              set_start_method(StartMethod::spawn);
              set_start_method(std::nullopt, Force::yes);
              EXPECT_EQ(try_get_start_method(), std::nullopt);
            }),
            0);
}

TEST(StartMethodTest, NamesArePythons) {
  for (const StartMethod each : start_methods()) EXPECT_EQ(start_method_from(to_string(each)), each);
  EXPECT_THAT(test::thrown_text([] { (void)start_method_from("thread"); }), HasSubstr("no start method 'thread'"));
  EXPECT_THROW((void)start_method_from(""), std::invalid_argument);
}

TEST(ContextTest, GetContext_WithoutMethodIsTheDefaultsAndFixesIt) {
  EXPECT_EQ(in_fresh_process([] {
              EXPECT_EQ(get_context().get_start_method(), StartMethod::fork);
              EXPECT_EQ(try_get_start_method(), StartMethod::fork);
            }),
            0);
}

TEST(ContextTest, GetContext_ByNameAndByMethodDoesNotFixAnything) {
  EXPECT_EQ(in_fresh_process([] {
              EXPECT_EQ(get_context("forkserver").get_start_method(), StartMethod::forkserver);
              EXPECT_EQ(get_context(StartMethod::spawn).get_start_method(), StartMethod::spawn);
              EXPECT_THROW((void)get_context("threads"), std::invalid_argument);
              EXPECT_EQ(try_get_start_method(), std::nullopt);
            }),
            0);
}

class ContextEachTest : public test::EachStartMethod {};

TEST_P(ContextEachTest, Process_StartsByTheContextsMethod) {
  const Context context = get_context(GetParam());
  ProcessOptions options;
  options.other_threads = test::sanitizer_threads;
  Process process = context.process(
      options, [](std::string expected) { std::exit(to_string(get_start_method()) == expected ? 3 : 4); },
      std::string(to_string(GetParam())));
  process.start();
  EXPECT_EQ(process.start_method(), GetParam());
  ASSERT_TRUE(process.join(30s));
  EXPECT_EQ(process.exit_code(), 3) << "the child's own default must be the method that it was started by";
}

TEST_P(ContextEachTest, ContextsOfSeveralMethodsWorkInOneProgram) {
  std::vector<Process> processes;
  for (const StartMethod each : {GetParam(), StartMethod::fork, StartMethod::spawn, StartMethod::forkserver}) {
    processes.push_back(Process(
        test::with_method(each), [](int code) { std::exit(code); }, 5));
  }
  for (Process& each : processes) each.start();
  for (Process& each : processes) {
    ASSERT_TRUE(each.join(30s));
    EXPECT_EQ(each.exit_code(), 5);
  }
}

TEST_P(ContextEachTest, HasTheInterfaceOfTheFreeFunctions) {
  const Context context = get_context(GetParam());
  EXPECT_EQ(context.current_process().name(), current_process().name());
  EXPECT_EQ(context.parent_process().has_value(), parent_process().has_value());
  EXPECT_EQ(context.active_children().size(), active_children().size());
  EXPECT_EQ(context.cpu_count(), cpu_count());
  EXPECT_EQ(context.usable_cpu_count(), usable_cpu_count());
}

RUNRIG_FOR_EACH_START_METHOD(ContextEachTest);

}  // namespace
}  // namespace runrig
