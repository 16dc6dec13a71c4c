import { NGINX } from './proxy.js';
import { testBehind } from './scenario.js';

testBehind(NGINX);
