using System.Diagnostics;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>The REST API, health and its documentation as endpoints of a host.</summary>
public static partial class SagasApi
{
    /// <summary>Maps <c>/api/v1</c>, <c>/health/live</c>, <c>/health/ready</c>, <c>/metrics</c>, <c>/swagger</c>, and the dashboard at <c>/</c>. Works under any path base or route group; call <c>services.AddSagas(...)</c> before the host is built.</summary>
    /// <param name="endpoints">The host, or a group of its routes.</param>
    /// <returns>All the endpoints, to put conventions on.</returns>
    /// <exception cref="InvalidOperationException">The host has no engine.</exception>
    public static IEndpointConventionBuilder MapSagas(this IEndpointRouteBuilder endpoints)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        if (endpoints.ServiceProvider.GetService<IServiceProviderIsService>()?.IsService(typeof(SagaEngine)) == false)
            throw new InvalidOperationException("MapSagas finds no saga engine. Call builder.Services.AddSagas(...) before builder.Build().");

        var all = endpoints.MapGroup("");
        foreach (var path in Calls.All.GroupBy(call => call.Path))
        {
            foreach (var call in path)
                all.MapMethods(path.Key, MethodsOf(call), Guard(call.Answer)).WithDisplayName($"{call.Method} {call.Path}");
            // Endpoints that name their methods win over one that takes any.
            var allow = string.Join(", ", path.SelectMany(MethodsOf));
            all.Map(path.Key, Guard(http => throw Problem.WrongMethod(http.Request.Method, http.Request.Path, allow).Thrown())).WithDisplayName($"405 {path.Key}");
        }
        all.Map("/api/v1/{**rest}", Guard(http => throw Problem.UnknownRoute(http.Request.Method, http.Request.Path).Thrown())).WithDisplayName("404 /api/v1");
        foreach (var (path, answer) in Swagger.Files)
            all.MapMethods(path, ["GET", "HEAD"], Guard(answer)).WithDisplayName($"GET {path}");
        var metrics = new MetricsText();
        endpoints.ServiceProvider.GetRequiredService<HostDisposables>().Add(metrics);
        all.MapMethods("/metrics", ["GET", "HEAD"], Guard(metrics.AnswerAsync)).WithDisplayName("GET /metrics");
        DashboardFiles.Map(all, Guard);
        return all;
    }

    internal static SagaEngine Engine(this HttpContext http) => http.RequestServices.GetRequiredService<SagaEngine>();

    private static string[] MethodsOf(Call call) => call.Method == "GET" ? ["GET", "HEAD"] : [call.Method];

    /// <summary>Whatever goes wrong becomes a problem; nothing of the inside shows.</summary>
    private static RequestDelegate Guard(RequestDelegate answer) => async http =>
    {
        Answer.Protect(http);
        try
        {
            await answer(http);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            // Nobody is there to hear.
        }
        catch (Exception e) when (!http.Response.HasStarted)
        {
            await ProblemOf(http, e).WriteAsync(http);
        }
    };

    private static Problem ProblemOf(HttpContext http, Exception fault)
    {
        switch (fault)
        {
            case ProblemException known:
                return known.Problem;
            case BadHttpRequestException bad:
                return Problem.BadRequest(bad.StatusCode, bad.Message);
            case StoreUnavailableException:
                LogStoreDown(Log(http), fault, http.Request.Method, http.Request.Path);
                return Problem.StoreDown();
            case BusUnavailableException bus:
                return Problem.BusDown(bus.Message);
            default:
                LogFault(Log(http), fault, http.Request.Method, http.Request.Path);
                return Problem.Internal(Activity.Current?.TraceId.ToHexString() ?? http.TraceIdentifier);
        }
    }

    private static ILogger Log(HttpContext http) => http.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Sagas.Api");

    [LoggerMessage(1, LogLevel.Warning, "{Method} {Path}: the store does not answer")]
    private static partial void LogStoreDown(ILogger log, Exception fault, string method, PathString path);

    [LoggerMessage(2, LogLevel.Error, "{Method} {Path} failed")]
    private static partial void LogFault(ILogger log, Exception fault, string method, PathString path);
}
