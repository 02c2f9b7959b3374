#include "rollout/endpoint/budget.h"

#include "common/status_testing.h"

namespace grpo {
namespace {

v1::EndpointUsage Spent(int64_t input_tokens, int64_t output_tokens, double usd) {
  v1::EndpointUsage spent;
  spent.set_num_requests(2);
  spent.set_input_tokens(input_tokens);
  spent.set_output_tokens(output_tokens);
  spent.set_usd(usd);
  return spent;
}

TEST(Budget, WithoutALimitEverythingBegins) {
  Budget budget({});
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(budget.Reserve({.input = 1 << 20, .output = 1 << 20}));
}

TEST(Budget, TokensUnderWayAndTheNextRequestStayBelowTheCeiling) {
  Budget budget({.budget_tokens = 100});
  budget.SetSpent(Spent(10, 20, 0));
  EXPECT_TRUE(budget.Reserve({.input = 10, .output = 30}));
  EXPECT_FALSE(budget.Reserve({.input = 10, .output = 21})) << "30 + 40 + 31 tokens";
  EXPECT_TRUE(budget.Reserve({.input = 10, .output = 20}));
  EXPECT_FALSE(budget.Reserve({.input = 0, .output = 1}));
  budget.Release({.input = 10, .output = 30});
  EXPECT_TRUE(budget.Reserve({.input = 10, .output = 30}));
}

TEST(Budget, MoneyIsTokensTimesTheirPrices) {
  Budget budget({.usd_per_million_input_tokens = 1, .usd_per_million_output_tokens = 4, .budget_usd = 0.001});
  EXPECT_DOUBLE_EQ(budget.Usd({.input = 1000, .output = 500}), 0.003);
  EXPECT_TRUE(budget.Reserve({.input = 200, .output = 200})) << "0.001 USD";
  EXPECT_FALSE(budget.Reserve({.input = 1, .output = 0}));
  budget.Release({.input = 200, .output = 200});
  budget.SetSpent(Spent(100, 100, 0.0005));
  EXPECT_FALSE(budget.Reserve({.input = 101, .output = 100}));
  EXPECT_TRUE(budget.Reserve({.input = 100, .output = 100}));
}

TEST(Budget, ARaisedOneLetsTheNextRequestBegin) {
  Budget budget({.budget_tokens = 10});
  EXPECT_FALSE(budget.Reserve({.input = 6, .output = 6}));
  budget.SetLimits(12, 0);
  EXPECT_TRUE(budget.Reserve({.input = 6, .output = 6}));
}

TEST(Budget, SaysWhatWasSpentOfWhat) {
  Budget budget({.usd_per_million_output_tokens = 10, .budget_tokens = 5000, .budget_usd = 0.25});
  budget.SetSpent(Spent(1000, 2041, 0.231));
  EXPECT_EQ(budget.Text({.input = 10, .output = 1990}),
            "0.2310 of 0.25 USD and 3041 of 5000 tokens in 2 answers; the next request may cost up to 2000 tokens, "
            "0.0199 USD");
}

}  // namespace
}  // namespace grpo
