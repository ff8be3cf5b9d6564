using Shouldly;

namespace Sagas.Tests;

/// <summary>Waits for what another process, or another thread, must bring about.</summary>
internal static class Eventually
{
    public static async Task TrueAsync(Func<bool> condition, int seconds = 20) => await TrueAsync(() => Task.FromResult(condition()), seconds);

    /// <summary>Tells it again until it is so.</summary>
    public static async Task HoldsAsync(Func<Task> story, int seconds = 20)
    {
        for (var began = TimeProvider.System.GetTimestamp(); ;)
        {
            try
            {
                await story();
                return;
            }
            catch (ShouldAssertException) when (TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(seconds))
            {
            }
        }
    }

    public static async Task TrueAsync(Func<Task<bool>> condition, int seconds = 20)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        for (var began = TimeProvider.System.GetTimestamp(); !await condition();)
        {
            TimeProvider.System.GetElapsedTime(began).ShouldBeLessThan(TimeSpan.FromSeconds(seconds));
            await timer.WaitForNextTickAsync();
        }
    }
}
