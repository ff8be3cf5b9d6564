using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>/metrics, and the Grafana dashboard that reads it.</summary>
public sealed partial class MetricsTests
{
    [Fact]
    public async Task A_host_that_is_disposed_without_being_stopped_leaves_no_engine_and_no_listener_behind()
    {
        var engine = await StartAndDisposeAsync();
        await Eventually.TrueAsync(() =>
        {
            GC.Collect();
            return !engine.IsAlive;
        });

        [MethodImpl(MethodImplOptions.NoInlining)]
        static async Task<WeakReference> StartAndDisposeAsync()
        {
            await using var api = await ApiHost.StartAsync();
            (await api.Get("/metrics")).Text.ShouldContain("sagas_in_flight");
            return new WeakReference(api.Engine);
        }
    }

    [Fact]
    public async Task Metrics_come_as_Prometheus_reads_them()
    {
        await using var api = await ApiHost.StartAsync(command => command.Step == "room" ? ScriptedTransport.Reply(command, Outcome.Refused, "full") : ScriptedTransport.Ok(command));
        await api.Post(ApiHost.Start + "&wait=30");
        await api.Post("/api/v1/definitions/book-trip/sagas?wait=30");
        api.Store.Said = new StoreHealth(StoreLevel.Low, "little room");
        var reply = await api.Get("/metrics");
        reply.Header("Content-Type").ShouldBe("text/plain; version=0.0.4; charset=utf-8");
        var lines = reply.Text.Split('\n');
        foreach (var line in lines.Where(line => line.Length > 0)) LinePattern().IsMatch(line).ShouldBeTrue(line);
        lines.ShouldContain("# TYPE sagas_started_total counter");
        lines.ShouldContain("# TYPE sagas_duration_seconds histogram");
        lines.ShouldContain("# TYPE sagas_in_flight gauge");
        lines.ShouldContain("sagas_in_flight{status=\"Running\"} 0");
        lines.ShouldContain("sagas_store_level{level=\"low\"} 1");
        lines.ShouldContain("sagas_store_level{level=\"good\"} 0");
        // The counters are the process's: other tests' sagas count too.
        Value(lines, "sagas_ended_total{definition=\"reserve\",status=\"Completed\"}").ShouldBeGreaterThanOrEqualTo(1);
        Value(lines, "sagas_ended_total{definition=\"book-trip\",status=\"Compensated\"}").ShouldBeGreaterThanOrEqualTo(1);
        Value(lines, "sagas_attempts_failed_total{definition=\"book-trip\",step=\"room\",phase=\"try\",outcome=\"refused\"}").ShouldBeGreaterThanOrEqualTo(1);
        Value(lines, "sagas_duration_seconds_bucket{definition=\"reserve\",status=\"Completed\",le=\"+Inf\"}")
            .ShouldBe(Value(lines, "sagas_duration_seconds_count{definition=\"reserve\",status=\"Completed\"}"));
    }

    [Fact]
    public async Task Every_metric_that_the_Grafana_dashboard_asks_for_is_there()
    {
        await using var api = await ApiHost.StartAsync();
        var metrics = await api.Get("/metrics");
        metrics.Status.ShouldBe(200, metrics.Text);
        var known = TypePattern().Matches(metrics.Text).Select(match => match.Groups[1].Value).ToHashSet();
        // Only where there is a journal, where participants run, and where RabbitMQ is the bus.
        known.UnionWith(["sagas_journal_size_bytes", "sagas_participant_duration_seconds", "sagas_dead_letters_total"]);
        using var dashboard = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(Root(), "dashboards", "grafana", "sagas.json")));
        var asked = dashboard.RootElement.GetProperty("panels").EnumerateArray().SelectMany(panel => panel.GetProperty("targets").EnumerateArray())
            .SelectMany(target => MetricPattern().Matches(target.GetProperty("expr").GetString()!)).Select(match => SuffixPattern().Replace(match.Value, "")).Distinct().ToArray();
        asked.Length.ShouldBeGreaterThan(10);
        asked.Except(known).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_gauge_that_cannot_be_read_takes_no_other_metric_away()
    {
        await using var api = await ApiHost.StartAsync();
        using var meter = new Meter("Sagas");
        meter.CreateObservableGauge("sagas.broken", static long () => throw new InvalidOperationException("It cannot be read."));
        var metrics = await api.Get("/metrics");
        metrics.Status.ShouldBe(200, metrics.Text);
        metrics.Text.ShouldContain("sagas_in_flight{status=\"Running\"} 0");
    }

    [Fact]
    public async Task Each_engine_of_a_process_shows_its_own_gauges()
    {
        await using var busy = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await using var idle = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await busy.Post(ApiHost.Start);
        (await idle.Get("/metrics")).Text.ShouldContain("sagas_in_flight{status=\"Running\"} 0");
        (await busy.Get("/metrics")).Text.ShouldContain("sagas_in_flight{status=\"Running\"} 1");
    }

    private static double Value(string[] lines, string series) =>
        double.Parse(lines.Single(line => line.StartsWith(series + " ", StringComparison.Ordinal))[(series.Length + 1)..], System.Globalization.CultureInfo.InvariantCulture);

    private static string Root([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", ".."));

    [GeneratedRegex("""^(# (HELP|TYPE) sagas_[a-z_]+ .+|sagas_[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.E+-]+)$""")]
    private static partial Regex LinePattern();

    [GeneratedRegex("# TYPE ([a-z_]+) ")]
    private static partial Regex TypePattern();

    [GeneratedRegex("sagas_[a-z_]+")]
    private static partial Regex MetricPattern();

    [GeneratedRegex("_(bucket|sum|count)$")]
    private static partial Regex SuffixPattern();
}
