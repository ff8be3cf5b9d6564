using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using System.Runtime.CompilerServices;
using Microsoft.Diagnostics.Runtime;
using Sagas.Tests;
using Xunit.v3;

[assembly: Watched]

namespace Sagas.Tests;

/// <summary>A test that waits for what never comes would hold up the run for ever, and say nothing. It is named, with all that is awaited anywhere, and the run fails.</summary>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class WatchedAttribute : BeforeAfterTestAttribute
{
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => Watchdog.Began(test.UniqueID, test.TestDisplayName);

    public override void After(MethodInfo methodUnderTest, IXunitTest test) => Watchdog.Ended(test.UniqueID);
}

internal static class Watchdog
{
    /// <summary>The longest tests take two minutes, on a busy machine four times that.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(20);
    private static readonly ConcurrentDictionary<string, (string Name, long Since)> s_running = new();
    private static long s_lastNews = Stopwatch.GetTimestamp();

    public static void Began(string id, string name)
    {
        s_lastNews = Stopwatch.GetTimestamp();
        s_running[id] = (name, s_lastNews);
    }

    public static void Ended(string id)
    {
        s_lastNews = Stopwatch.GetTimestamp();
        s_running.TryRemove(id, out _);
    }

    // A thread of its own: the pool's may be what hangs.
    [ModuleInitializer]
    internal static void Watch() => new Thread(static () =>
    {
        using var never = new ManualResetEvent(false);
        while (!Debugger.IsAttached)
        {
            never.WaitOne(TimeSpan.FromSeconds(5));
            var late = s_running.Values.Where(static test => Stopwatch.GetElapsedTime(test.Since) > s_limit).ToArray();
            // What is set up for tests hangs before any of them begins.
            if (late.Length == 0 && Stopwatch.GetElapsedTime(s_lastNews) < s_limit) continue;
            Console.WriteLine($"HANGS for more than {s_limit.TotalMinutes} minutes: {string.Join(", ", late.Select(static test => test.Name))}. Running: {string.Join(", ", s_running.Values.Select(static test => test.Name))}. What is awaited, and what threads do:");
            try
            {
                Tell(Console.WriteLine);
            }
            finally
            {
                Environment.Exit(3);
            }
        }
    }) { IsBackground = true, Name = "watchdog" }.Start();

    /// <summary>The methods that wait in an <c>await</c>, of ours, with how many of each and where, and each thread's calls.</summary>
    public static void Tell(Action<string> print)
    {
        using var snapshot = DataTarget.CreateSnapshotAndAttach(Environment.ProcessId);
        using var runtime = snapshot.ClrVersions[0].CreateRuntime();
        foreach (var awaited in runtime.Heap.EnumerateObjects().Select(Awaiting).OfType<string>().CountBy(static one => one).OrderBy(static one => one.Key)) print($"{awaited.Value,6} {awaited.Key}");
        foreach (var thread in runtime.Threads)
        {
            var calls = thread.EnumerateStackTrace().Select(static call => call.Method?.Signature).OfType<string>().Take(30).ToArray();
            if (calls.Any(static call => call.Contains(nameof(Sagas), StringComparison.Ordinal))) print($"thread {thread.OSThreadId}:\n    {string.Join("\n    ", calls)}");
        }
    }

    private static string? Awaiting(ClrObject box)
    {
        const int Over = 0x1600000; // TASK_STATE_COMPLETED_MASK
        if (box.Type?.Name is not { } name || !name.Contains("+AsyncStateMachineBox<Sagas.", StringComparison.Ordinal) || (box.ReadField<int>("m_stateFlags") & Over) != 0) return null;
        name = name[(name.IndexOf("MachineBox<", StringComparison.Ordinal) + "MachineBox<".Length)..^1];
        return box.Type.GetFieldByName("StateMachine") is { IsValueType: true } ? $"{name} at await {box.ReadValueTypeField("StateMachine").ReadField<int>("<>1__state")}" : name;
    }
}
