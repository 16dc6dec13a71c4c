/** The thread of parseDomainApart: parses one description and sends the result, or why there is none. */
import { parentPort, workerData } from 'node:worker_threads';
import { GuestfsError } from '../../common/errors.js';
import { parseDomain, type Domain } from './domainXml.js';

/** What the thread sends. */
export type ParsedDomain = { readonly domain: Domain } | { readonly refused: { reason: string; message: string } };

function parsed(xml: string): ParsedDomain {
  try {
    return { domain: parseDomain(xml) };
  } catch (error) {
    if (!(error instanceof GuestfsError)) throw error;
    return { refused: { reason: error.reason, message: error.message } };
  }
}

parentPort?.postMessage(parsed(String(workerData)));
