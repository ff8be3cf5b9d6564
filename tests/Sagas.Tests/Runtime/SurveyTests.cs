using System.Collections.Immutable;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>How what several nodes tell becomes one. That they are asked is told by the node tests.</summary>
public class SurveyTests
{
    private static readonly DateTimeOffset s_noon = new(2026, 6, 1, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Durations_of_a_minute_are_those_of_all_sagas_wherever_they_ended()
    {
        var (fast, slow, both) = (new Pulse(new ManualTime()), new Pulse(new ManualTime()), new Pulse(new ManualTime()));
        for (var i = 0; i < 100; i++)
        {
            var took = TimeSpan.FromMilliseconds(i < 90 ? 10 : 1000);
            (i < 90 ? fast : slow).Ended("trip", SagaStatus.Completed, took);
            both.Ended("trip", SagaStatus.Completed, took);
        }
        var together = fast.LastMinute("trip").With(slow.LastMinute("trip"));
        together.Completed.ShouldBe(100);
        foreach (var quantile in new[] { 0.5, 0.89, 0.95, 0.99 }) together.Quantile(quantile).ShouldBe(both.LastMinute("trip").Quantile(quantile));
        together.Quantile(0.95).ShouldBeInRange(950, 1050);
    }

    [Fact]
    public void A_node_that_did_nothing_changes_nothing()
    {
        var pulse = new Pulse(new ManualTime());
        pulse.Started("trip");
        pulse.Ended("trip", SagaStatus.Compensated, TimeSpan.FromMilliseconds(10));
        var minute = pulse.LastMinute("trip");
        var together = minute.With(new Pulse(new ManualTime()).LastMinute("trip"));
        (together.Started, together.Compensated, together.Quantile(0.5)).ShouldBe((minute.Started, minute.Compensated, minute.Quantile(0.5)));
    }

    [Fact]
    public void Quantiles_of_a_span_weigh_by_how_many_ended_there()
    {
        var together = Point(completed: 3, p50: 10).With(Point(completed: 1, p50: 30));
        (together.Completed, together.P50, together.InFlight[SagaStatus.Running]).ShouldBe((4, 15, 2));
        Point(completed: 0, p50: null).With(Point(completed: 2, p50: 30)).P50.ShouldBe(30);
    }

    [Fact]
    public void One_failure_at_two_nodes_is_one_group()
    {
        var early = Group(SagaStatus.Running, s_noon, s_noon.AddMinutes(1), "old", [1, 0]);
        var late = Group(SagaStatus.Compensated, s_noon.AddMinutes(1), s_noon.AddMinutes(5), "new", [0, 2]);
        foreach (var together in new[] { early.With(late), late.With(early) })
        {
            (together.Message, together.FirstAt, together.LastAt, together.Count, together.Attempts).ShouldBe(("new", s_noon, s_noon.AddMinutes(5), 2, 6));
            together.Series.ShouldBe([1, 2]);
        }
    }

    [Fact]
    public void A_question_that_this_version_does_not_know_has_no_answer()
    {
        var survey = new Survey(null!, new Pulse(new ManualTime()), new Failures(new ManualTime()), static () => [], static _ => null);
        survey.Answer("""{"$type":"weather"}"""u8.ToArray()).IsEmpty.ShouldBeTrue();
        survey.Answer("no JSON"u8.ToArray()).IsEmpty.ShouldBeTrue();
    }

    private static StatsPoint Point(long completed, double? p50) => new(s_noon, 0, completed, 0, 0, 0, p50, p50, p50, ImmutableDictionary<SagaStatus, long>.Empty.Add(SagaStatus.Running, 1));

    private static FailureGroup Group(SagaStatus status, DateTimeOffset first, DateTimeOffset last, string message, ImmutableArray<long> series) =>
        new("trip", 1, "seat", Phase.Try, "no", message, false, ImmutableDictionary<SagaStatus, long>.Empty.Add(status, 1), 3, first, last, series);
}
